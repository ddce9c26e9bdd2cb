#!/usr/bin/env bash
# Deletes everything at AWS, the data set and the models too; asks for the account's number. See docs/cloud.md.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/cloud.sh" cleanup "$@"
