# What run.sh and run_interactive.sh share: reads GPU and the environment, starts the container. Sourced by both.
# shellcheck shell=bash

usage() {
  cat >&2 <<'TEXT'
Usage: bash SCRIPT GPU COMMAND...     GPU: all, one or several numbers (0 or 0,1), cpu

  bash run.sh 0 python src/main.py --config=fop --env-config=sc2 with env_args.map_name=3s_vs_3z
  bash run.sh cpu make test
  bash run_interactive.sh all bash

The working tree is mounted at /fop: changed code needs no new image, results appear in results/, owned by you.
Environment: IMAGE (default fop), RESULTS (another folder for results), SC2PATH (mounted read-only), MONGO_URL (handed
on), NETWORK (a Docker network, for example fop_default of docker/compose.yaml), SHM_SIZE (default 8g).
TEXT
  exit 2
}

fail() {
  echo "error: $*" >&2
  exit 2
}

launch() { # MODE GPU COMMAND...: MODE is run or interactive
  if [ $# -lt 3 ] || [ "$2" = -h ] || [ "$2" = --help ]; then usage; fi
  local mode=$1 gpu=$2 root name
  shift 2
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  command -v docker >/dev/null || fail "docker is not installed"
  # under sudo, files belong to whoever called it
  local options=(--rm --init --user "${SUDO_UID:-$(id -u)}:${SUDO_GID:-$(id -g)}" --volume "$root:/fop" --workdir /fop)
  options+=(--shm-size "${SHM_SIZE:-8g}" --stop-timeout 30)
  case $gpu in
    cpu) ;;
    all) options+=(--gpus all) ;;
    *[!0-9,]* | ,* | *, | *,,* | "") fail "GPU must be all, numbers such as 0 or 0,1, or cpu; got '$gpu'" ;;
    *) options+=(--gpus "\"device=$gpu\"") ;; # the inner quotes are Docker's: a comma separates its options
  esac
  if [ -n "${RESULTS:-}" ]; then
    mkdir -p "$RESULTS"
    options+=(--volume "$(cd "$RESULTS" && pwd):/fop/results")
  fi
  if [ -n "${SC2PATH:-}" ]; then
    [ -d "$SC2PATH" ] || fail "SC2PATH: '$SC2PATH' is no folder"
    options+=(--volume "$(cd "$SC2PATH" && pwd):/opt/sc2:ro" --env SC2PATH=/opt/sc2)
  fi
  if [ -n "${MONGO_URL:-}" ]; then options+=(--env MONGO_URL); fi # by name: no password in the list of processes
  if [ -n "${NETWORK:-}" ]; then options+=(--network "$NETWORK"); fi
  if [ "$mode" = interactive ]; then
    options+=(--interactive --tty)
  elif [ -t 1 ]; then
    options+=(--tty)
  fi
  name="$(id -un 2>/dev/null || id -u)_fop_GPU_${gpu//,/-}_$(printf '%04x' $((RANDOM)))"
  echo "Launching container named '$name' on GPU '$gpu'"
  exec docker run --name "$name" "${options[@]}" "${IMAGE:-fop}" "$@"
}
