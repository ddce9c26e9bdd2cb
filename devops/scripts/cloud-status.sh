#!/usr/bin/env bash
# Shows the instance at AWS: its start step by step, addresses, price, who holds it. See docs/cloud.md.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/cloud.sh" status "$@"
