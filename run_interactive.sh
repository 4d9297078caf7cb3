#!/usr/bin/env bash
# Like run.sh, with the terminal attached: bash run_interactive.sh GPU COMMAND..., for example bash.
set -eu
# shellcheck source=docker/launch.sh
. "$(dirname "${BASH_SOURCE[0]}")/docker/launch.sh"
[ -t 0 ] || fail "run_interactive.sh needs a terminal; use run.sh"
launch interactive "$@"
