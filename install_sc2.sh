#!/usr/bin/env bash
# StarCraft II for Linux and SMAC's maps: bash install_sc2.sh [4.10|4.6.2] [--accept-eula]
#
# Installs into SC2PATH, or else 3rdparty/StarCraftII beside this script; does nothing that is done already. A download
# that broke off goes on where it stopped when the command is given again. Needs curl and unzip, and about 15 GB.
#
# Blizzard publishes the game for research under its AI and Machine Learning License, which --accept-eula agrees to;
# without it the script asks. SC2_PACKAGES and SMAC_MAPS_URL name other places to download from (a mirror).
set -euo pipefail

PACKAGES=${SC2_PACKAGES:-https://blzdistsc2-a.akamaihd.net/Linux}
MAPS_URL=${SMAC_MAPS_URL:-https://github.com/oxwhirl/smac/releases/download/v0.1-beta1/SMAC_Maps.zip}
LICENSE_URL=https://blzdistsc2-a.akamaihd.net/AI_AND_MACHINE_LEARNING_LICENSE.html
PASSWORD=iagreetotheeula # of the archives; publishing it here is Blizzard's way to have people agree
MAPS="3m 8m 25m 5m_vs_6m 8m_vs_9m 10m_vs_11m 27m_vs_30m MMM MMM2 2s3z 3s5z 3s5z_vs_3s6z 3s_vs_3z 3s_vs_4z 3s_vs_5z
  1c3s5z 2m_vs_1z corridor 6h_vs_8z 2s_vs_1sc so_many_baneling bane_vs_bane 2c_vs_64zg"
TRIES=5 # connections a download may need

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
HOME_OF_GAME=${SC2PATH:-$HERE/3rdparty/StarCraftII}
UNPACKED_PER_PACKED=3 # room needed, as a multiple of the package

fail() { # fail CODE MESSAGE
  echo "error: $2" >&2
  exit "$1"
}

usage() { # fail with the usage
  fail 2 "$1; usage: bash install_sc2.sh [4.10|4.6.2] [--accept-eula]"
}

read_arguments() {
  version=4.10 accepted=no
  local argument chosen=no
  for argument in "$@"; do
    case $argument in
      --accept-eula) accepted=yes ;;
      -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
      -*) usage "unknown option '$argument'" ;;
      *)
        [ "$chosen" = no ] || usage "more than one version: '$argument'"
        version=$argument chosen=yes
        ;;
    esac
  done
  case $version in
    4.10) package=SC2.4.10.zip build=75689 ;;
    4.6.2) package=SC2.4.6.2.69232.zip build=69232 ;;
    *) usage "unknown version '$version'" ;;
  esac
}

check_tools() {
  local tool
  for tool in curl unzip; do
    command -v "$tool" >/dev/null || fail 1 "$tool is missing (on Debian and Ubuntu: apt install $tool)"
  done
}

has_game() {
  [ -x "$HOME_OF_GAME/Versions/Base$build/SC2_x64" ]
}

missing_maps() { # print the maps that are not there
  local map
  for map in $MAPS; do
    [ -s "$1/$map.SC2Map" ] || echo "$map"
  done
}

check_target() {
  local other
  for other in "$HOME_OF_GAME"/Versions/Base*; do
    [ -e "$other" ] && fail 1 "$HOME_OF_GAME holds another version (${other##*/}); for $version set SC2PATH to another folder"
  done
  mkdir -p "$HOME_OF_GAME" 2>/dev/null || fail 1 "cannot write to $HOME_OF_GAME"
  [ -w "$HOME_OF_GAME" ] || fail 1 "cannot write to $HOME_OF_GAME"
}

accept_license() {
  [ "$accepted" = no ] || return 0
  echo "StarCraft II comes under Blizzard's AI and Machine Learning License: $LICENSE_URL"
  [ -t 0 ] || fail 2 "nobody to ask: give --accept-eula to agree to the license"
  local answer
  read -r -p "Do you agree to it? [y/N] " answer
  case $answer in [yY] | [yY][eE][sS]) ;; *) fail 2 "not installed: the license was not agreed to" ;; esac
}

remote_size() { # print the length the server tells for URL $1, nothing if it tells none
  curl --fail --silent --location --head --connect-timeout 30 "$1" |
    tr -d '\r' | awk 'tolower($1) == "content-length:" { size = $2 } END { print size }'
}

local_size() {
  if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; else echo 0; fi
}

check_room() { # check_room BYTES
  local free needed
  free=$(df -Pk "$HOME_OF_GAME" | awk 'NR == 2 { print $4 }')
  needed=$((UNPACKED_PER_PACKED * $1 / 1024))
  [ "$free" -ge "$needed" ] || fail 1 "$HOME_OF_GAME has $((free / 1024)) MB free; $((needed / 1024)) MB are needed"
}

download() { # download URL FILE: complete and of the right size, or fail; an interrupted one is continued
  local url=$1 file=$2 size try progress=--silent
  [ -f "$file" ] && return 0
  [ -t 2 ] && progress=--progress-bar
  size=$(remote_size "$url") || fail 1 "cannot reach $url"
  [ -z "$size" ] || check_room "$size"
  for try in $(seq "$TRIES"); do
    [ -z "$size" ] || [ "$(local_size "$file.part")" -le "$size" ] || rm -f "$file.part" # of another file
    if [ -z "$size" ] || [ "$(local_size "$file.part")" -lt "$size" ]; then
      echo "downloading $url (try $try, from byte $(local_size "$file.part"))"
      curl --fail "$progress" --show-error --location --connect-timeout 30 --speed-limit 1000 --speed-time 60 \
        --continue-at - --output "$file.part" "$url" || case $? in
        22) fail 1 "the server refuses $url" ;;
        33) rm -f "$file.part" ;; # the server cannot continue: from the start
      esac
    fi
    [ "$(local_size "$file.part")" = "${size:-none}" ] && break
    [ -z "$size" ] && [ -s "$file.part" ] && break
    sleep "${SC2_RETRY_SECONDS:-2}"
  done
  if [ -n "$size" ] && [ "$(local_size "$file.part")" != "$size" ]; then
    fail 1 "$url: $(local_size "$file.part") of $size bytes arrived; give the same command again to continue"
  fi
  mv "$file.part" "$file"
}

unpack() { # unpack FILE FOLDER: all of it, checksums included; a broken archive is thrown away
  rm -rf "$2"
  mkdir -p "$2"
  if ! unzip -q -o -P "$PASSWORD" "$1" -d "$2"; then
    rm -rf "$1" "$2"
    fail 1 "$(basename "$1") was damaged and is deleted; give the same command again"
  fi
}

install_game() {
  download "$PACKAGES/$package" "$work/$package"
  echo "unpacking $package"
  unpack "$work/$package" "$work/unpacked"
  local top=$work/unpacked/StarCraftII entry
  [ -f "$top/Versions/Base$build/SC2_x64" ] || fail 1 "$package holds no StarCraftII/Versions/Base$build/SC2_x64"
  chmod +x "$top/Versions/Base$build/SC2_x64"
  for entry in "$top"/* "$top"/.[!.]*; do
    case ${entry##*/} in Versions | Maps | '*' | '.[!.]*') continue ;; esac
    rm -rf "${HOME_OF_GAME:?}/${entry##*/}"
    mv "$entry" "$HOME_OF_GAME/"
  done
  mkdir -p "$HOME_OF_GAME/Maps"
  [ ! -d "$top/Maps" ] || cp -R "$top/Maps/." "$HOME_OF_GAME/Maps/"
  mv "$top/Versions" "$HOME_OF_GAME/" # last: with it the game counts as installed
  rm -rf "${work:?}/$package" "$work/unpacked"
}

install_maps() {
  download "$MAPS_URL" "$work/SMAC_Maps.zip"
  unpack "$work/SMAC_Maps.zip" "$work/maps"
  local found
  found=$(find "$work/maps" -name 3m.SC2Map -print -quit)
  [ -n "$found" ] || fail 1 "$MAPS_URL holds no 3m.SC2Map"
  found=$(dirname "$found")
  [ -z "$(missing_maps "$found")" ] || fail 1 "$MAPS_URL lacks maps: $(missing_maps "$found" | tr '\n' ' ')"
  mkdir -p "$HOME_OF_GAME/Maps"
  rm -rf "$HOME_OF_GAME/Maps/SMAC_Maps"
  mv "$found" "$HOME_OF_GAME/Maps/SMAC_Maps"
  rm -rf "$work/SMAC_Maps.zip" "$work/maps"
}

clean_up() { # what is half unpacked goes, what is half downloaded stays for the next time
  rm -rf "$work/unpacked" "$work/maps"
  rmdir "$work" "$HOME_OF_GAME/Maps" "$HOME_OF_GAME" 2>/dev/null || true
}

main() {
  read_arguments "$@"
  check_tools
  mkdir -p "$(dirname "$HOME_OF_GAME")" 2>/dev/null || fail 1 "cannot write to $(dirname "$HOME_OF_GAME")"
  HOME_OF_GAME=$(cd "$(dirname "$HOME_OF_GAME")" && pwd)/$(basename "$HOME_OF_GAME")
  work=$HOME_OF_GAME/.install
  trap clean_up EXIT
  if has_game; then
    echo "StarCraft II $version is in $HOME_OF_GAME"
  else
    check_target
    accept_license
    mkdir -p "$work"
    install_game
    echo "StarCraft II $version installed in $HOME_OF_GAME"
  fi
  if [ -z "$(missing_maps "$HOME_OF_GAME/Maps/SMAC_Maps")" ]; then
    echo "SMAC's maps are in $HOME_OF_GAME/Maps/SMAC_Maps"
  else
    mkdir -p "$work"
    install_maps
    echo "SMAC's maps installed in $HOME_OF_GAME/Maps/SMAC_Maps"
  fi
  if [ "$HOME_OF_GAME" != "$HERE/3rdparty/StarCraftII" ]; then
    printf 'export SC2PATH=%q\n' "$HOME_OF_GAME"
  fi
  echo "python src/doctor.py checks the rest"
}

main "$@"
