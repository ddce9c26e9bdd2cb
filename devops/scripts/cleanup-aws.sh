#!/usr/bin/env bash
# Deletes everything at AWS, the data set and the models too; asks for the account's number. See docs/cloud.md.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="$root/.venv/bin/python"
[[ -x "$python" ]] || python=python3
PYTHONPATH="$root/devops/src:$root/WMS/src${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m wms_ops.cloud.aws cleanup "$@"
