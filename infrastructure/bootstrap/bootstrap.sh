#!/usr/bin/env bash
# Turns a fresh Amazon Linux 2023 into this project's host. The instance's user data runs it once, as root, after it
# has written /etc/wms/host.json and unpacked the code into /opt/wms/code. WMS_PREFIX moves all paths, for tests.
set -euo pipefail
export HOME="${HOME:-/root}" # cloud-init sets none, and uv needs one

K3S_VERSION="v1.36.2+k3s1" # with another version goes another sum: infrastructure/bootstrap/README.md
PREFIX="${WMS_PREFIX:-}"
CODE="$PREFIX/opt/wms/code"
CONFIG="$PREFIX/etc/wms/host.json"
STATE="$PREFIX/var/lib/wms"
UNITS="$PREFIX/etc/systemd/system"
BIN="$PREFIX/usr/local/bin"
HERE="$CODE/infrastructure/bootstrap"

step=packages
report() { # STEP STATE [SENTENCE]; the steps' names are those of boot.py
  python3 "$CODE/devops/src/wms_ops/targets/host/boot.py" "$CONFIG" "$STATE" "$@" || echo "No report of: $*" >&2
}
begin() {
  step="$1"
  report "$step" running
}
finish() { # whatever ends this script early is reported; nothing is after the last step
  local code=$?
  if ((code)); then
    report "$step" failed "bootstrap.sh ended with $code here; see /var/log/cloud-init-output.log on the instance."
  fi
}
trap finish EXIT

install_unit() { # NAME
  mkdir -p "$UNITS"
  sed "s|@PREFIX@|$PREFIX|g" "$HERE/$1.service" >"$UNITS/$1.service"
  systemctl daemon-reload
}
unit() { # NAME: install a unit of systemd and start it
  install_unit "$1"
  systemctl enable --now "$1.service"
}

k3s() { # each failure is an exit code: MLflow goes on without it
  local url="https://github.com/k3s-io/k3s/releases/download/${K3S_VERSION/+/%2B}" place
  place="$(mktemp -d)" || return
  curl -fsSL --proto =https --retry 5 --retry-all-errors -o "$place/k3s" "$url/k3s" || return
  # Not against the release's own list of sums: an attacker who swaps the file there swaps its sum, too.
  (cd "$place" && sha256sum --check --strict --quiet "$HERE/k3s.sha256") || return
  mkdir -p "$BIN" && install -m 755 "$place/k3s" "$BIN/k3s" && rm -r "$place" && unit k3s
}

begin packages
dnf install -y python3.11 python3.11-pip git make haproxy
report packages "done"

begin environment
make -C "$CODE" install FOR="train serve cloud"
report environment "done"

begin agent
mkdir -p "$STATE"
id -u wms-mlflow &>/dev/null || useradd --system --no-create-home --shell /sbin/nologin wms-mlflow
install_unit wms-door # the agent starts these two
install_unit wms-mlflow
unit wms-host
report agent "done"

begin k3s
if k3s; then
  report k3s "done"
else
  report k3s failed "k3s $K3S_VERSION couldn't be installed; MLflow and the service work without it."
fi
