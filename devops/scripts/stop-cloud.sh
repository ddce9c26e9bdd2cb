#!/usr/bin/env bash
# Ends the instance at AWS and proves that nothing is left that costs money. See docs/cloud.md.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/cloud.sh" stop "$@"
