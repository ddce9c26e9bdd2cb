#!/usr/bin/env bash
# A command of `wms cloud` with AWS as its target, such as `cloud.sh allow`. See docs/cloud.md.
set -euo pipefail
exec sh "$(dirname "${BASH_SOURCE[0]}")/python.sh" -m wms_ops cloud "$@" ${1:+--target aws}
