"""What systemd does for a unit with `User=`, on a machine without systemd: another user, and a file system to read.

Runs in the stand-in for systemd, with nothing of this project. As root it uses `unshare` and `setpriv`: the unit's
process gets another user id, no capability, an empty /tmp and home, and writes to ReadWritePaths alone. Any other user
can't do that to a process, and starts it as it is.
"""

import json
import os
import shlex
import sys
from pathlib import Path
from string import Template

UIDS = "WMS_MACHINE_UIDS"
_CHANGED = ("/tmp", "/root", "/home")  # noqa: S108 - what the unit finds empty
_SCRIPT = """
set -euo pipefail
mount -t tmpfs -o mode=755 none /mnt
number=0
for path in "${kept[@]}"; do
  number=$((number + 1))
  mkdir "/mnt/$number" && mount --rbind "$path" "/mnt/$number"
done
while read -r _ place _; do
  case "$place" in /proc* | /sys* | /dev* | /mnt*) ;; *) mount -o remount,bind,ro "$place" 2>/dev/null || true ;; esac
done </proc/self/mounts
for path in "${changed[@]}"; do mount -t tmpfs -o mode=755 none "$path"; done
number=0
for path in "${kept[@]}"; do
  number=$((number + 1))
  mkdir -p "$path" && mount --rbind "/mnt/$number" "$path"
  mount -o remount,bind,ro "$path"
done
for path in "${writable[@]}"; do mount --bind "$path" "$path" && mount -o remount,bind,rw "$path"; done
umount -l /mnt
for path in "${changed[@]}"; do mount -o remount,ro "$path"; done
mount -t tmpfs -o mode=1777 none /var/tmp
cd "$folder"
"""


def options_of(unit: str) -> dict[str, list[str]]:
    """A unit's settings: each name with its values."""
    found: dict[str, list[str]] = {}
    for line in Path(unit).read_text(encoding="utf-8").splitlines():
        name, is_setting, value = line.partition("=")
        if is_setting and not line.startswith(("#", "[")):
            found.setdefault(name, []).append(value)
    return found


def uid_of(options: dict[str, list[str]]) -> int | None:
    """The unit's user, if this machine can run a process as another user."""
    name = options.get("User", [None])[0]
    return json.loads(os.environ[UIDS])[name] if name and os.geteuid() == 0 else None


def command(options: dict[str, list[str]]) -> list[str]:
    """The unit's command, inside of what the unit asks for."""
    words = shlex.split(Template(options["ExecStart"][0]).safe_substitute(environ(options)))
    uid = uid_of(options)
    if uid is None:
        return words
    prefix = Path(os.environ["WMS_PREFIX"])
    kept = {str(prefix), sys.base_prefix, sys.prefix, str(Path(sys.prefix).resolve()), os.environ["WMS_HOUSE"]}
    hidden = [path for path in sorted(kept, key=len) if path.startswith(tuple(f"{one}/" for one in _CHANGED))]
    lines = [f"kept=({shlex.join(hidden)})", f"changed=({shlex.join(_CHANGED)})"]
    lines.append(f"writable=({shlex.join(path for one in options.get('ReadWritePaths', []) for path in one.split())})")
    lines.append(f"folder={shlex.quote(options.get('WorkingDirectory', ['/'])[0])}")
    dropped = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs"]
    dropped += ["--inh-caps=-all", "--bounding-set=-all"]
    script = "\n".join([*lines, _SCRIPT, f"exec {shlex.join([*dropped, *words])}"])
    return ["unshare", "--mount", "--propagation", "private", "bash", "-c", script]


def environ(options: dict[str, list[str]]) -> dict[str, str]:
    """The unit's variables: nothing of AWS but what its own file names."""
    found = dict(os.environ)
    if "User" in options:
        found = {name: value for name, value in found.items() if not name.startswith(("AWS_", "MLFLOW_", "HOME"))}
    for path in options.get("EnvironmentFile", []):
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            found[name] = shlex.split(value)[0] if value else ""
    return found
