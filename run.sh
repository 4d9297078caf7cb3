#!/usr/bin/env bash
# Runs a command in the training image: bash run.sh GPU COMMAND...; without arguments it says more.
set -eu
# shellcheck source=docker/launch.sh
. "$(dirname "${BASH_SOURCE[0]}")/docker/launch.sh"
launch run "$@"
