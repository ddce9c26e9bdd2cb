#!/usr/bin/env bash
# Starts an instance at AWS with MLflow and the service; says the price and asks first. See docs/cloud.md.
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/cloud.sh" deploy "$@"
