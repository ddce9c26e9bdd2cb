"""Commands whose calls are watched: in a network namespace with loopback alone, under strace, with a new home."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from servers import cannot_test, require_tool
from small import ROOT, photos, train_command, write_recipe

from wms.quiet import QUIET

_ADDRESS: Final = re.compile(r'sin_addr=inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
_PORT: Final = re.compile(r"sin6?_port=htons\((\d+)\)")
_LOOPBACK: Final = re.compile(r"127\.|0\.0\.0\.0$|::1$|::$|::ffff:127\.")
_CREATED: Final = re.compile(r'openat\([^,]*, "([^"]+)", [^,)]*O_CREAT[^,)]*')
_DNS: Final = "53"
_CACHES: Final = (".cache/matplotlib/fontlist-",)  # where fonts lie, of matplotlib; reports hold pictures


@dataclass(frozen=True)
class Watched:
    """What a command did: its exit code and output, addresses beyond loopback, careless files, files in its home."""

    code: int
    output: str
    calls: int
    outside: tuple[str, ...]
    careless: tuple[str, ...]
    in_home: tuple[str, ...]

    def assert_quiet(self) -> str:
        """The outcome in a few words; raises AssertionError if the command left anything or asked anybody."""
        assert self.code == 0, self.output[-4000:]
        assert self.calls, "nothing was watched"
        assert not self.outside, f"calls beyond loopback: {self.outside[:9]}"
        assert not self.careless, f"files of a foreseeable name in the temporary folder: {self.careless[:9]}"
        assert not self.in_home, f"files in the home folder: {self.in_home[:9]}"
        return "no call beyond loopback, no file left"


def watch(command: Sequence[str], folder: Path, *, timeout: float = 300, **more: str) -> Watched:
    """Run a command in `folder`, without the variables against reports and without the marks of a CI job."""
    strace, unshare, ip = (str(require_tool(name)) for name in ("strace", "unshare", "ip"))
    if subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False).returncode:
        cannot_test("this machine gives no network namespace")
    home, temporary, trace = (folder / name for name in ("home", "tmp", "trace"))
    for place in (home, temporary):
        place.mkdir()
    left_out = {*QUIET, "CI", "GITHUB_ACTIONS", "TF_BUILD", "XDG_CACHE_HOME"}
    environ = {name: value for name, value in os.environ.items() if name not in left_out}
    environ |= {"HOME": str(home), "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", **more}
    environ["PYTHONPATH"] = os.pathsep.join(str(ROOT / part / "src") for part in ("WMS", "devops"))
    calls = "trace=connect,sendto,sendmsg,sendmmsg,openat"
    inside = [strace, "-f", "-qq", "--seccomp-bpf", "-s", "300", "-e", calls, "-o", str(trace), *command]
    alone = [unshare, "-rn", "sh", "-c", f'{ip} link set lo up && exec "$@"', "sh", *inside]
    done = subprocess.run(alone, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=timeout)
    lines = trace.read_text(errors="replace").splitlines() if trace.exists() else []
    return Watched(
        done.returncode,
        done.stdout + done.stderr,
        len(lines),
        tuple(line for line in lines if is_outside(line)),
        tuple(careless_files(lines, temporary)),
        tuple(path for path in _files(home) if not path.startswith(_CACHES)),
    )


def is_outside(line: str) -> bool:
    """Whether a call reaches beyond loopback, or asks for a name: on loopback a resolver may pass the question on.

    >>> is_outside('7 connect(3, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("10.0.0.7")}, 16) = 0')
    True
    """
    port = _PORT.search(line)
    addresses = [first or second for first, second in _ADDRESS.findall(line)]
    return bool(port and port[1] == _DNS) or any(not _LOOPBACK.match(address) for address in addresses)


def careless_files(lines: Sequence[str], temporary: Path) -> Iterator[str]:
    """Files right in the temporary folder that were made though they might have been there: another user's link."""
    for line in lines:
        made = _CREATED.search(line)
        if made and "O_EXCL" not in made[0] and Path(made[1]).parent in (temporary, Path("/tmp"), Path("/var/tmp")):  # noqa: S108
            yield made[1]


def _files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


_SERVE: Final = """
import subprocess, sys, time, urllib.request, urllib.error, pathlib
model, photo = sys.argv[1:]
log = pathlib.Path("log")
command = [sys.executable, "-m", "wms.serving.cli", "--model", model, "--ledger", model, "--port", "8123"]
service = subprocess.Popen(command, stderr=log.open("wb"))
for _ in range(600):
    try:
        urllib.request.urlopen("http://127.0.0.1:8123/health").read()
        break
    except urllib.error.URLError:
        time.sleep(0.1)
part = b'--b\\r\\nContent-Disposition: form-data; name="file"; filename="a"\\r\\n\\r\\n'
body = part + pathlib.Path(photo).read_bytes() + b"\\r\\n--b--"
form = {"Content-Type": "multipart/form-data; boundary=b"}
asked = urllib.request.Request("http://127.0.0.1:8123/predict", body, form)
assert urllib.request.urlopen(asked).read(4) == b"\\x89PNG"
service.terminate()
assert service.wait() == 0, log.read_text()
"""


def predict(model: Path, photo: Path, folder: Path) -> Watched:
    """Watch `wms predict`."""
    where = ["--input", str(photo), "--output", str(folder / "masks"), "--model", str(model)]
    return watch([sys.executable, "-m", "wms_ops", "predict", *where], folder)


def serve(model: Path, photo: Path, folder: Path) -> Watched:
    """Watch `wms serve` and a client that asks for a mask."""
    return watch([sys.executable, "-c", _SERVE, str(model), str(photo)], folder)


def train(folder: Path) -> Watched:
    """Watch a training of seconds, with its report."""
    write_recipe(folder)
    photos(folder)
    return watch(train_command(folder), folder)


def demo(folder: Path) -> Watched:
    """Watch the whole loop: hook, DVC, MLflow's server, the store, training, gate, promotion, deployment, sync."""
    command = [sys.executable, "-m", "wms_ops.demo", "--folder", str(folder / "demo"), "--photos", "12,14,16"]
    return watch(command, folder, timeout=1800)
