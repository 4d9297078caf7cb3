#!/usr/bin/env bash
# Builds the training image.
#
#   docker/build.sh [--tag NAME] [--base IMAGE] [--sc2 4.10|4.6.2 --accept-eula] [--sc2-libraries] [-- OPTION...]
#
#   --tag NAME        name of the image (default fop)
#   --base IMAGE      what it is built on (default: see docker/Dockerfile)
#   --sc2 VERSION     install StarCraft II into the image, with its client libraries; needs --accept-eula
#   --accept-eula     you accept Blizzard's AI and Machine Learning License
#   --sc2-libraries   only the client libraries: the game comes as a volume
#   -- OPTION...      further options of `docker build`
set -eu

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tag=fop
sc2=none
eula=no
libraries=no
extra=()

fail() {
  echo "error: $*" >&2
  exit 2
}

value() { # OPTION [VALUE]: the value, which must be there
  if [ $# -lt 2 ] || [ -z "$2" ]; then fail "$1 needs a value"; fi
  printf '%s' "$2"
}

while [ $# -gt 0 ]; do
  case $1 in
    --tag) tag=$(value "$@"); shift 2 ;;
    --base) extra+=(--build-arg "BASE_IMAGE=$(value "$@")"); shift 2 ;;
    --sc2) sc2=$(value "$@"); libraries=yes; shift 2 ;;
    --accept-eula) eula=yes; shift ;;
    --sc2-libraries) libraries=yes; shift ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    --) shift; extra+=("$@"); break ;;
    *) fail "unknown option '$1'; see docker/build.sh --help" ;;
  esac
done

case $sc2 in
  none | 4.10 | 4.6.2) ;;
  *) fail "--sc2 must be 4.10 or 4.6.2, got '$sc2'" ;;
esac
[ "$sc2" = none ] || [ "$eula" = yes ] ||
  fail "--sc2 $sc2 installs StarCraft II: read Blizzard's AI and Machine Learning License and add --accept-eula"
command -v docker >/dev/null || fail "docker is not installed"

# under sudo: whoever called it; root itself gets the user 1000, since the image must not run as root
uid=${SUDO_UID:-$(id -u)}
gid=${SUDO_GID:-$(id -g)}
if [ "$uid" = 0 ]; then
  uid=1000
  gid=1000
fi

exec docker build --file "$root/docker/Dockerfile" --tag "$tag" \
  --build-arg "UID=$uid" --build-arg "GID=$gid" \
  --build-arg "SC2=$sc2" --build-arg "ACCEPT_EULA=$eula" --build-arg "SC2_LIBRARIES=$libraries" \
  ${extra[@]+"${extra[@]}"} "$root"
