#!/usr/bin/env bash
# Starts an instance at AWS with MLflow and the service; says the price and asks first. See docs/cloud.md.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="$root/.venv/bin/python"
[[ -x "$python" ]] || python=python3
PYTHONPATH="$root/devops/src:$root/WMS/src${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m wms_ops.cloud.aws deploy "$@"
