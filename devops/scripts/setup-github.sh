#!/usr/bin/env bash
# Sets the repository's settings at GitHub; names each change and asks first. See docs/BRANCH_PROTECTION.md.
set -euo pipefail
exec sh "$(dirname "${BASH_SOURCE[0]}")/python.sh" -m wms_ops github setup "$@"
