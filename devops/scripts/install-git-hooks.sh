#!/usr/bin/env bash
# `wms hook`: installs the pre-push hook into this clone; --remove takes it away again.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="$root/.venv/bin/python"
[[ -x "$python" ]] || python=python3
PYTHONPATH="$root/devops/src:$root/WMS/src${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m wms_ops hook "$@"
