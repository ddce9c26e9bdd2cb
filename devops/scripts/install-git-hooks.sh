#!/usr/bin/env bash
# `wms hook`: installs the pre-push hook into this clone; --remove takes it away again.
set -euo pipefail
exec sh "$(dirname "${BASH_SOURCE[0]}")/python.sh" -m wms_ops hook "$@"
