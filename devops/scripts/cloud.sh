#!/usr/bin/env bash
# A command of `wms cloud` with AWS as its target, such as `cloud.sh allow`. See docs/cloud.md.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="$root/.venv/bin/python"
[[ -x "$python" ]] || python="$(command -v python3 || true)"
if [[ -z "$python" ]] || ! "$python" -c 'import importlib.util as u, sys; sys.exit(not (u.find_spec("pydantic") and u.find_spec("python_terraform")))'; then
  echo "error: What this command needs isn't installed in $root; run \`make install FOR=cloud\` there, then this again." >&2
  exit 2
fi
PYTHONPATH="$root/devops/src:$root/WMS/src${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m wms_ops cloud "$@" ${1:+--target aws}
