"""The MLflow adapter on a real server; and servers that are gone, silent, slow, refusing or cut a download."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from registry_workshop import Shop
from servers import Gateway, free_port, gateway, serving

from wms.errors import (
    ModelNotFoundError,
    RegistryError,
    RegistryUnreachableError,
    UsageError,
    WmsError,
)
from wms.registry import promotion
from wms.registry.ledger import Ledger
from wms.registry.mlflow_calls import call
from wms.registry.mlflow_store import ModelRegistry
from wms.registry.promotion import PromotionClient, PromotionOutcome

pytest_plugins = ["registry_fixtures"]


def test_versions_aliases_and_tags(shop: Shop) -> None:
    registry = shop.registry
    assert registry.versions() == ()
    assert registry.alias("production") is None
    registry.delete_alias("production")  # of a model that isn't there
    one, two = shop.run(0.8, gate=False), shop.run(0.9, gate=False)
    assert registry.register(one, {"a": "1"}).version == 1
    assert registry.register(one).version == 1
    assert registry.register(two).version == 2
    assert registry.alias("production") is None
    registry.set_alias("production", 1)
    registry.set_alias("production", 2)
    registry.set_alias("other", 2)
    registry.set_version_tags(2, {"x": "y", "z": "ü"})
    found = registry.alias("production")
    assert found is not None
    assert (found.version, found.run_id, found.aliases, found.tags) == (
        2,
        two,
        ("other", "production"),
        {"x": "y", "z": "ü"},
    )
    assert registry.versions()[1] == found
    assert registry.versions()[0].tags == {"a": "1"}
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found.created_at)
    registry.delete_alias("production")
    registry.delete_alias("production")
    assert registry.alias("production") is None
    with pytest.raises(ModelNotFoundError):
        registry.set_alias("production", 9)


def test_runs_and_artifacts(shop: Shop, tmp_path: Path) -> None:
    registry = shop.registry
    run_id = shop.run(0.8, name=f"run_{shop.model}")
    info = registry.run(run_id)
    assert (info.name, info.status, info.metrics["final_test_dice"]) == (f"run_{shop.model}", "FINISHED", 0.8)
    assert registry.find_run(run_id) == info == registry.find_run(f"run_{shop.model}")
    for missing in ("0" * 32, "run_that_never_was", 'it\'s "odd"'):
        with pytest.raises(ModelNotFoundError):
            registry.find_run(missing)
    shop.run(0.8, name=f"run_{shop.model}")
    with pytest.raises(UsageError, match="2 runs"):
        registry.find_run(f"run_{shop.model}")
    registry.set_run_tags(run_id, {"wms.note": "kept"})
    assert registry.run(run_id).tags["wms.note"] == "kept"

    big = os.urandom(3_000_000)
    registry.write_artifact(run_id, "deep/er/file.bin", big)
    assert registry.read_artifact(run_id, "deep/er/file.bin") == big
    registry.write_artifact(run_id, "deep/er/file.bin", b"")
    assert registry.read_artifact(run_id, "deep/er/file.bin") == b""
    target = tmp_path / "new folder" / "file.pth"
    registry.download(run_id, "model/production.pth", target)
    assert target.read_bytes() == f"weights of {run_id}".encode()
    for path in ("model/nothing.pth", "nothing.json", "model", "deep/er/file"):
        with pytest.raises(ModelNotFoundError, match="has no artifact"):
            registry.read_artifact(run_id, path)
    assert [path.name for path in target.parent.iterdir()] == ["file.pth"]


class CuttingGateway(Gateway):
    """Breaks the connection in the middle of a file whose path contains `cut`."""

    cut = ""
    cuts = 0

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        front = self

        class Handler(super()._handler()):  # type: ignore[misc]
            def do_GET(self) -> None:
                if not front.cut or front.cut not in self.path:
                    self._serve()
                    return
                with urllib.request.urlopen(f"http://127.0.0.1:{front.target_port}{self.path}") as answer:
                    content = answer.read()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                front.cuts += 1
                self.close_connection = True

        return Handler


@contextlib.contextmanager
def cutting_gateway(port: int) -> Iterator[CuttingGateway]:
    front = CuttingGateway(port)
    with serving(front.server):
        yield front


@contextlib.contextmanager
def dripping() -> Iterator[str]:
    """A server that sends one byte of its answer every tenth of a second."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.settimeout(0.1)

        def serve() -> None:
            guests: list[socket.socket] = []
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    guest, _ = door.accept()
                    guest.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
                    guests.append(guest)
                for guest in guests:
                    with contextlib.suppress(OSError):
                        guest.sendall(b" ")
            for guest in guests:
                guest.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()


def port_of(shop: Shop) -> int:
    return int(shop.uri.rsplit(":", 1)[1])


@contextlib.contextmanager
def trouble(kind: str, port: int) -> Iterator[str]:
    """The address of a server with a trouble."""
    if kind == "gone":
        yield f"http://user:secret@127.0.0.1:{free_port()}"
    elif kind == "silent":
        with socket.create_server(("127.0.0.1", 0)) as door:
            yield f"http://user:secret@127.0.0.1:{door.getsockname()[1]}"
    elif kind == "dripping":
        with dripping() as uri:
            yield uri
    else:
        with gateway(port) as front:
            front.refuse_with = int(kind)
            yield front.uri.replace("//", "//user:secret@")


TROUBLES: dict[str, tuple[type[WmsError], str]] = {
    "gone": (RegistryUnreachableError, "Connection refused"),
    "silent": (RegistryUnreachableError, "timed out|no answer within"),
    "dripping": (RegistryUnreachableError, "no answer within 2 seconds"),
    "500": (RegistryUnreachableError, "500"),
    "503": (RegistryUnreachableError, "503"),
    "403": (RegistryError, "403.*--allowed-hosts"),
    "401": (RegistryError, "401.*MLFLOW_TRACKING_USERNAME"),
    "404": (RegistryError, "404.*names an MLflow server"),
}


@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_is_one_sentence_in_bounded_time(shop: Shop, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WMS_MLFLOW_TIMEOUT", "2")
    error, words = TROUBLES[kind]
    pytest.importorskip("mlflow.tracking")  # its first import sets a variable, of polars
    before = dict(os.environ)
    with trouble(kind, port_of(shop)) as uri:
        began = time.monotonic()
        with pytest.raises(error, match=words) as caught:
            promotion.propose(PromotionClient(uri, Ledger(shop.folder), shop.folder / "m.json", shop.model), "0" * 32)
        assert time.monotonic() - began < 30  # MLflow alone would go on for minutes
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert type(caught.value) is error
    assert dict(os.environ) == before
    assert not shop.folder.exists()


@pytest.mark.parametrize("path", ["model/production.pth", "gate/verdict.json"])
def test_half_a_download_is_no_model(shop: Shop, path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_id = shop.run(0.8)
    monkeypatch.setenv("WMS_MLFLOW_TIMEOUT", "2")
    target = tmp_path / "model.pth"
    with cutting_gateway(port_of(shop)) as front:
        registry = ModelRegistry(front.uri, model=shop.model)
        front.cut = path
        with pytest.raises(RegistryUnreachableError) as caught:
            registry.download(run_id, path, target)
        assert front.cuts > 1  # it was tried again
        assert "\n" not in str(caught.value)
        assert not target.exists()
        promotions = PromotionClient(front.uri, Ledger(shop.folder), shop.folder / "m.json", shop.model)
        with pytest.raises(RegistryUnreachableError):
            promotion.propose(promotions, run_id)
        front.cut = ""
        assert isinstance(promotion.propose(promotions, run_id), promotion.Proposal)
    assert shop.registry.versions() == ()


# What is asked of the server while a promotion is carried out.
REQUESTS = ("model-versions/create", "model-versions/set-tag", "registered-models/alias", "registered-models/create")


@pytest.mark.parametrize("request_path", REQUESTS)
def test_an_answer_that_is_lost_does_not_double_anything(
    shop: Shop, request_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = shop.run(0.8)
    with gateway(port_of(shop)) as front:
        promotions = PromotionClient(front.uri, Ledger(shop.folder), shop.folder / "model-metadata.json", shop.model)
        proposal = promotion.propose(promotions, run_id)
        assert not isinstance(proposal, PromotionOutcome)
        monkeypatch.setenv("WMS_MLFLOW_TIMEOUT", "1.5")
        front.lose = (request_path,)
        with contextlib.suppress(RegistryUnreachableError):  # where repeating it shows that it was done, all is well
            promotion.execute(promotions, proposal, who="Ann")
        assert front.lost
    monkeypatch.delenv("WMS_MLFLOW_TIMEOUT")
    found = promotion.propose(shop.promotions, run_id)
    if not isinstance(found, PromotionOutcome):
        promotion.execute(shop.promotions, found, who="Ann")
    snapshot = shop.snapshot()
    production = [version for version, aliases, _ in snapshot["versions"] if "production" in aliases]
    assert len(production) == 1
    assert [entry["to_version"] for entry in snapshot["history"]] == production
    assert snapshot["settled"]


def test_the_addresses_password_is_never_shown() -> None:
    registry = ModelRegistry("http://ann:pass@word@example.invalid:5000/path?token=abc")
    assert registry.server == "http://example.invalid:5000/path"
    assert ModelRegistry("HTTP://ann:secret@example.invalid").server == "HTTP://example.invalid"
    assert ModelRegistry("sqlite:////data/mlflow.db").server == "sqlite:////data/mlflow.db"


def test_without_an_address_or_with_a_wrong_one_or_a_wrong_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_URI isn't set"):
        ModelRegistry.from_environment()
    for wrong in (
        "localhost:5000",
        "./mlruns",
        "file:///mlruns",
        "ftp://ann:secret@example.invalid/",
        "http://[",
        "http://a:secret@[",
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", wrong)
        with pytest.raises(UsageError, match="give the server's address") as caught:
            ModelRegistry.from_environment()
        assert "secret" not in str(caught.value)
    for wrong in ("soon", "0", "-1", "nan", "inf"):
        monkeypatch.setenv("WMS_MLFLOW_TIMEOUT", wrong)
        with pytest.raises(UsageError, match="give a number of seconds"):
            call("here", "reading", lambda: None)


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        call("here", "reading", lambda: 1 // 0)
