"""Programs of an instance that a test machine can't have or mustn't use: small scripts that stand in for them.

Those in Python find their machine in the environment: WMS_MACHINE is the instance's id, WMS_PREFIX its folder,
WMS_HYPERVISOR the process whose end is theirs, WMS_MINUTE_S how long a minute takes.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

_SHELL = "#!/bin/bash\nset -euo pipefail\n"

DNF = f'{_SHELL}echo "dnf $*"\n[[ ! -e "$WMS_PREFIX/no-dnf" ]] || {{ echo "No mirror answers." >&2; exit 1; }}\n'

MAKE = f"""{_SHELL}echo "make $*"
[[ "$1" == -C && "$3" == install && "$4" == "FOR=train serve cloud" ]]
mkdir -p "$2/.venv/bin"
printf '#!/bin/bash\\nexport PYTHONPATH=%q\\nexec %q "$@"\\n' "$2/WMS/src:$2/devops/src" @PYTHON@ >"$2/.venv/bin/python"
chmod +x "$2/.venv/bin/python"
"""

USERADD = f'{_SHELL}echo "useradd $*"\n'

CURL = f"""{_SHELL}while (($#)); do
  case "$1" in -o) target="$2"; shift ;; https://*) url="$1" ;; esac
  shift
done
case "$url" in
  https://github.com/k3s-io/k3s/releases/download/v1.*%2Bk3s1/k3s)
    cp "$(dirname "$0")/k3s" "$target"
    [[ ! -e "$WMS_PREFIX/wrong-k3s" ]] || echo "# and more" >>"$target" ;;
  */sha256sum-amd64.txt) # an attacker who swaps a release's file swaps its sum, too
    sha256sum <"$(dirname "$target")/k3s" | sed 's/-/k3s/' >"$target" ;;
  *) exit 22 ;;
esac
"""

K3S = "#!/bin/bash\nexec sleep 86400\n"
"""What lies at GitHub as k3s; an instance's code holds its sum."""

AWS = """
import os, sys
from pathlib import Path
import boto3
from botocore.config import Config
def option(name):
    return words[words.index(name) + 1]
words = sys.argv[1:]
config = Config(s3={"addressing_style": "path"})
if words[:2] == ["s3", "cp"]:
    at = next(number for number, word in enumerate(words) if word.startswith("s3://"))
    bucket, _, key = words[at].removeprefix("s3://").partition("/")
    boto3.client("s3", config=config, region_name=option("--region")).download_file(bucket, key, words[at + 1])
elif words[:2] == ["ssm", "put-parameter"] and "--overwrite" in words:
    boto3.client("ssm", region_name=option("--region")).put_parameter(
        Name=option("--name"), Value=option("--value"), Type=option("--type"), Overwrite=True)
elif words[:2] == ["ssm", "get-parameter"]:
    answer = boto3.client("ssm").get_parameter(Name=option("--name"), WithDecryption=True)
    print(answer["Parameter"]["Value"])
else:
    sys.exit(f"aws {words}?")
"""

SHUTDOWN = """
import os, sys, time
import boto3, psutil
flag, when = sys.argv[1:]
assert flag == "-h"
if when != "now":
    seconds = int(when.removeprefix("+")) * float(os.environ["WMS_MINUTE_S"])
    if os.fork():
        sys.exit(0)
    os.setsid()
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(silent, stream)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not psutil.pid_exists(int(os.environ["WMS_HYPERVISOR"])):
            sys.exit(0)
        time.sleep(min(0.2, max(0.0, end - time.monotonic())))
ec2, machine = boto3.client("ec2"), os.environ["WMS_MACHINE"]
answer = ec2.describe_instance_attribute(InstanceId=machine, Attribute="instanceInitiatedShutdownBehavior")
if answer["InstanceInitiatedShutdownBehavior"]["Value"] == "terminate":
    ec2.terminate_instances(InstanceIds=[machine])
else:
    ec2.stop_instances(InstanceIds=[machine])
"""

SYSTEMCTL = """
import os, signal, subprocess, sys, time
from pathlib import Path
import psutil
prefix = Path(os.environ["WMS_PREFIX"])
words = [word for word in sys.argv[1:] if word != "--now"]
if words == ["daemon-reload"]:
    sys.exit()
verb, unit = words[0], prefix / "etc/systemd/system" / words[1]
known = prefix / f"{unit.stem}.pid"
def running():
    try:
        process = psutil.Process(int(known.read_text()))
        return process if process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, psutil.Error):
        return None
if verb in ("stop", "restart") and (process := running()):
    process.send_signal(signal.SIGTERM)
    process.wait()
if verb in ("enable", "start", "restart") and not running():
    log = (prefix / f"{unit.stem}.log").open("ab")
    started = subprocess.Popen([sys.executable, str(prefix / "bin/systemd.py"), str(unit)],
                               stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    known.write_text(str(started.pid))
elif verb not in ("stop", "restart", "enable", "start"):
    sys.exit(f"systemctl {words}?")
"""

SYSTEMD = """
import os, shlex, signal, subprocess, sys, time
import psutil
import sandbox
options = sandbox.options_of(sys.argv[1])
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
hypervisor = int(os.environ["WMS_HYPERVISOR"])
os.umask(0o022)
while not stopping:
    child = subprocess.Popen(sandbox.command(options), env=sandbox.environ(options), start_new_session=True)
    while child.poll() is None and not stopping:
        time.sleep(0.05)
        if not psutil.pid_exists(hypervisor):
            stopping.append(True)
    if options.get("Restart") != ["always"]:
        break
    time.sleep(0 if stopping else 0.3)
child.terminate()
try:
    child.wait(float(options.get("TimeoutStopSec", ["90"])[0]))
except subprocess.TimeoutExpired:
    child.kill()
    child.wait()
"""


def write_stubs(folder: Path) -> None:
    """Put all stand-ins into a folder, which is to be first on PATH."""
    folder.mkdir(parents=True)
    python = shlex.quote(sys.executable)
    shell = {"dnf": DNF, "make": MAKE.replace("@PYTHON@", python), "curl": CURL, "useradd": USERADD}
    shell["python3"] = f'{_SHELL}exec {python} -S "$@"\n'  # the system's own has nothing installed
    for name, source in {"aws": AWS, "shutdown": SHUTDOWN, "systemctl": SYSTEMCTL}.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
        shell[name] = f'{_SHELL}exec {python} {shlex.quote(str(folder / name))}.py "$@"\n'
    for name, text in shell.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    (folder / "k3s").write_text(K3S, encoding="utf-8")
    (folder / "systemd.py").write_text(SYSTEMD, encoding="utf-8")
    shutil.copy(Path(__file__).with_name("unit_sandbox.py"), folder / "sandbox.py")
