#!/usr/bin/env bash
# Runs the command; StarCraft II of the image is used if no other is named or mounted.
set -eu
if [ -z "${SC2PATH:-}" ] && [ -d /opt/StarCraftII/Versions ] && [ ! -d 3rdparty/StarCraftII/Versions ]; then
  export SC2PATH=/opt/StarCraftII
fi
exec "$@"
