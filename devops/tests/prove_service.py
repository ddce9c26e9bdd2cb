"""`make prove-service`: attacks on a real process of the service, and what comes of each.

Hostile requests, and requests by the service's own description with schemathesis: none ends in a 500, a hang or a
traceback, and the process stays small. The memory of large photos, measured. Commands under strace: nothing leaves.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import watched
from hostile_requests import hostile_request
from proofs import Part, prove
from serve_memory import LOADS, measure, measured_service
from servers import require_tool
from serving_workshop import ServiceProcess, export, photo, promote, running
from watched import Watched

from wms.errors import run_main

ANSWER_SECONDS: Final = 30.0
MOST_MEMORY: Final = 400 * 2**20
_HURRY: Final = """
import wms.serving.connections as connections
connections.HEAD_SECONDS = connections._CLOSING_SECONDS = 2.0
"""
_SECRETS: Final = re.compile(rb"root:.*:0:|Traceback|site-packages|File \"|/wms-proof-|/WMS/src/")
_services: list[ServiceProcess] = []


@contextlib.contextmanager
def _service() -> Iterator[None]:
    """A process for all cases; afterwards it's there, small, and its log has no traceback."""
    with tempfile.TemporaryDirectory(prefix="wms-proof-") as name:
        folder, log = Path(name), Path(name) / "log"
        export(folder)
        promote(folder, folder, 3)
        with running(folder, log, "--threads", "1", before=_HURRY) as service:
            _services.append(service)
            try:
                yield
            finally:
                _services.remove(service)
            assert service.process is not None and service.process.is_running()
            assert service.process.memory_info().rss < MOST_MEMORY
        text = log.read_text()
        assert "Traceback" not in text and str(folder) not in text.partition("Serving version")[2], text[-4000:]


def _request(seed: int, _folder: Path) -> str:
    hostile = hostile_request(seed)
    answer = exchanged(_services[-1].port, hostile.content, is_whole=hostile.is_whole)
    assert not _SECRETS.search(answer), answer[:2000]
    if not answer:
        assert not hostile.is_whole, f"{hostile.kind}: no answer"
        return "no answer"
    codes = re.findall(rb"^HTTP/1\.1 (\d{3}) ", answer, re.MULTILINE)
    assert codes and not {code for code in codes if code[:1] == b"5"} - {b"503"}, answer[:2000]
    return str(codes[-1].decode())


def exchanged(port: int, content: bytes, *, is_whole: bool) -> bytes:
    """All that a server answers to the bytes of a request; raises TimeoutError if the connection doesn't end."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as connection:
        try:
            connection.sendall(content)
            if not is_whole:  # the server may be waiting for more
                connection.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    answer = connection.recv(65536)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(ANSWER_SECONDS)
            while piece := connection.recv(65536):
                answer += piece
        except (ConnectionError, BrokenPipeError):  # it didn't want the rest
            pass
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
    return answer


CHECKS: Final = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def _by_description(seed: int, folder: Path) -> str:
    """Run schemathesis, of which each seed makes some other requests."""
    tool = require_tool("schemathesis")
    command = [str(tool), "run", f"{_services[-1].url}/openapi.json", "--seed", str(seed), "--max-examples", "8"]
    more = ["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--no-color", "--warnings", "off"]
    done = subprocess.run([*command, *more], cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    cases = re.search(r"(\d[\d,]*) generated", done.stdout)
    return f"{'no' if cases is None else 'all'} requests answered as described"


_models: list[Path] = []


@contextlib.contextmanager
def _model() -> Iterator[None]:
    """A promoted model and a photo for all watched commands."""
    with tempfile.TemporaryDirectory(prefix="wms-proof-") as name:
        folder = export(Path(name))
        promote(folder, folder, 3)
        (folder / "photo.jpg").write_bytes(photo())
        _models.append(folder)
        try:
            yield
        finally:
            _models.remove(folder)


WATCHED: Final[dict[str, Callable[[Path, Path], Watched]]] = {
    "predict": lambda model, folder: watched.predict(model, model / "photo.jpg", folder),
    "serve": lambda model, folder: watched.serve(model, model / "photo.jpg", folder),
    "train": lambda _, folder: watched.train(folder),
    "demo": lambda _, folder: watched.demo(folder),
}


def _quiet(case: int, folder: Path) -> str:
    name, watch = list(WATCHED.items())[case]
    return f"{name}: {watch(_models[-1], folder).assert_quiet()}"


PARTS: Final = (
    Part("requests", 5000, 120, _request, around=_service),
    Part("description", 20, 1, _by_description, workers=1, around=_service),
    Part("quiet", len(WATCHED), 2, _quiet, workers=1, around=_model),
    Part("memory", len(LOADS), 1, measure, workers=1, around=measured_service),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Prove the whole, or the parts and seeds named; returns 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="make prove-service", description=__doc__)
    names = [part.name for part in PARTS]
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    parser.add_argument("--seeds", nargs="+", type=int, help="these cases only (default: all)")
    arguments = parser.parse_args(argv)
    return prove([part for part in PARTS if part.name in arguments.parts], arguments.seeds)


if __name__ == "__main__":
    sys.exit(run_main(main))
