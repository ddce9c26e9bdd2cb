#!/usr/bin/env bash
# Ends the instance at AWS and proves that nothing is left that costs money. See docs/cloud.md.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="$root/.venv/bin/python"
[[ -x "$python" ]] || python=python3
PYTHONPATH="$root/devops/src:$root/WMS/src${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m wms_ops.cloud.aws stop "$@"
