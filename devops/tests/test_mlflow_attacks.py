"""Someone who knows MLflow's password reads and writes MLflow's own files, and no others."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from entrance_table import WORKS, Row
from guarded_mlflow import PASSWORD, GuardedMlflow

from wms.registry.mlflow_store import ModelRegistry
from wms_ops.machine.environment import tracking_address
from wms_ops.machine.password import USER
from wms_ops.machine.routes import LONGEST_BODY, LONGEST_FILE, checked

pytest_plugins = ["guarded_fixtures"]

API, AJAX = "/api/2.0/mlflow", "/ajax-api/2.0/mlflow"
STOPPED = "refused with 403"


def experiment(server: GuardedMlflow, location: str, route: str = f"{API}/experiments/create") -> tuple[int, str]:
    body = json.dumps({"name": uuid.uuid4().hex, "artifact_location": location})
    return server.send("POST", route, body.encode())


def run_in(server: GuardedMlflow, experiment_id: str) -> str:
    status, said = server.send("POST", f"{API}/runs/create", json.dumps({"experiment_id": experiment_id}).encode())
    assert status == 200, said
    return str(json.loads(said)["run"]["info"]["run_id"])


@pytest.mark.parametrize("route", [f"{API}/experiments/create", f"{AJAX}/experiments/create"])
@pytest.mark.attack(
    "someone with MLflow's password",
    "artifact_location=file://, then an upload",
    "the door: locations of MLflow's own store only",
)
def test_an_experiment_writes_and_reads_a_file_anywhere(
    guarded: GuardedMlflow, tmp_path: Path, route: str, entrance: Row
) -> None:
    (tmp_path / "key").write_text("a key of root's")
    status, said = experiment(guarded, tmp_path.as_uri(), route)
    read = ""
    if status == 200:  # what the attacker does next
        run = run_in(guarded, json.loads(said)["experiment_id"])
        upload = f"{AJAX}/upload-artifact?run_uuid={run}&path=cron"
        guarded.send("POST", upload, b"* * * * * root sh", kind="text/plain")
        (tmp_path / run / "artifacts").mkdir(parents=True, exist_ok=True)
        (tmp_path / run / "artifacts" / "link").symlink_to(tmp_path / "key")
        read = guarded.send("GET", f"/get-artifact?run_uuid={run}&path=link")[1]
    assert not list(tmp_path.rglob("cron")) and read != "a key of root's"
    assert status == 403 and "artifact_location" in said
    entrance("MLflow", f"artifact_location=file:///... at {route}", "403, nothing is written", STOPPED)


@pytest.mark.parametrize(
    "location",
    [
        *("s3://wms-main-dvc/dvc", "s3://b/mlflow/../backup", "/etc", "etc", "FILE:///etc", "file:etc", " file:///etc"),
        *("mlflow-artifacts://evil.example/x", "mlflow-artifacts:/../backup", "mlflow-artifacts:/a/..", "http://h/x"),
        *("mlflow-artifacts:/%2e%2e/backup", "mlflow-artifacts:\\..\\x", "mlflow-artifacts:/x?y", "dbfs:/x", "ftp://h"),
        *("mlflow-artifacts:/x#y", "mlflow-artifacts:/x\n", "runs:/../x", "models:/a/../../x", "hdfs://h/x", "\x00"),
    ],
)
@pytest.mark.attack(
    "someone with MLflow's password",
    "locations and sources of other schemes, s3:// too",
    "the door: locations of MLflow's own store only",
)
def test_locations_and_sources_outside_mlflows_own_store(guarded: GuardedMlflow, location: str) -> None:
    assert experiment(guarded, location)[0] == 403
    body = {"name": "m", "source": location}
    for route in (API, AJAX):
        status, said = guarded.send("POST", f"{route}/model-versions/create", json.dumps(body).encode())
        assert status == 403 and "source" in said, said


@pytest.mark.parametrize("location", ["models:/m/1", "runs:/0123/model"])
@pytest.mark.attack(
    "someone with MLflow's password",
    "an experiment whose files are another run's or model's",
    "the door: mlflow-artifacts:/ only",
)
def test_an_experiment_has_files_of_its_own(location: str) -> None:
    with pytest.raises(ValueError, match=r"'.*: name one .*, as mlflow-artifacts:/\.\.\., or none"):
        checked(json.dumps({"name": "e", "artifact_location": location}).encode(), "experiments")
    assert checked(json.dumps({"name": "m", "source": location}).encode(), "model-versions")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [(b"{", "this one isn't valid JSON"), (b" " * 2**20 + b"{}", "may have 1,048,576 bytes; this one has more")],
)
def test_the_sentence_tells_broken_json_from_a_long_body(body: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        checked(body, "experiments")


@pytest.mark.attack(
    "someone with MLflow's password",
    "a body that two readers understand differently",
    "the door: known fields, written anew",
)
def test_bodies_that_two_readers_understand_differently(guarded: GuardedMlflow, tmp_path: Path) -> None:
    """MLflow itself reads fields by two spellings, JSON within JSON, and UTF-16; the last of two equal names counts."""
    bad = tmp_path.as_uri()
    name = uuid.uuid4().hex
    plain = json.dumps({"name": name, "artifact_location": bad})
    bodies = [
        json.dumps({"name": name, "artifactLocation": bad}).encode(),
        json.dumps(plain).encode(),
        plain.encode("utf-16"),
        f'{{"name": "{name}", "artifact_location": "", "artifact_location": "{bad}"}}'.encode(),
        f'{{"name": "{name}", "artifact_location": "{bad}", "artifact_location": ["{bad}"]}}'.encode(),
        f'{{"name": "{name}", "artifact\\u005flocation": "{bad}"}}'.encode(),
        b"\xef\xbb\xbf" + plain.encode(),
        plain.encode() + b" " * 2**20,
    ]
    for body in bodies:
        for kind in ("application/json", "application/json; charset=utf-16"):
            status, said = guarded.send("POST", f"{API}/experiments/create", body, kind=kind)
            assert status == 403, (body[:80], said)
    assert not _found(guarded, name)
    for body in (b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000):  # nothing that a client sends
        assert guarded.send("POST", f"{API}/experiments/create", body)[0] == 403, body[:9]


def _found(server: GuardedMlflow, name: str) -> bool:
    return server.send("GET", f"{API}/experiments/get-by-name?experiment_name={quote(name)}")[0] == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{API}/webhooks"),
        ("GET", f"{AJAX}/webhooks"),
        ("POST", f"{AJAX}/gateway-proxy"),
        ("POST", "/api/3.0/mlflow/gateway/secrets/create"),
        ("POST", "/gateway/mlflow/v1/chat/completions"),
        ("POST", f"{AJAX}/runs/create-promptlab-run"),
        ("POST", f"{API}/traces"),
        ("PATCH", f"{API}/traces/tr-1/tags"),
        ("PATCH", "/api/3.0/mlflow/traces/tr-1/tags"),
        ("GET", "/ajax-api/3.0/mlflow/get-trace-artifact?request_id=tr-1&path=x"),
        ("GET", f"{AJAX}/get-trace-artifact?request_id=tr-1&path=x"),
        ("POST", "/v1/traces"),
        ("POST", "/ajax-api/3.0/mlflow/assistant/message"),
        ("PUT", "/ajax-api/3.0/mlflow/assistant/config"),
        ("POST", "/ajax-api/3.0/jobs/"),
        ("POST", "/api/3.0/mlflow/mcp-servers"),
        ("POST", "/ajax-api/3.0/mlflow/scorer/invoke"),
        ("POST", "/api/3.0/mlflow/workspaces"),
        ("POST", f"{API}/artifacts/presigned-upload-url"),
        ("POST", "/api/2.0/mlflow-artifacts/mpu/create/x"),
        ("GET", "/api/2.0/mlflow-artifacts/presigned/x"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
    ],
)
@pytest.mark.attack(
    "someone with MLflow's password",
    "webhooks, gateways, jobs and other routes",
    "the door: a list of routes",
)
def test_routes_that_no_client_here_uses(guarded: GuardedMlflow, method: str, path: str) -> None:
    status, said = guarded.send(method, path, b"{}" if method != "GET" else None)
    assert status == 403 and "isn't open here" in said, said


@pytest.mark.parametrize("prefix", ["/api/2.0/mlflow-artifacts/artifacts", "/ajax-api/2.0/mlflow-artifacts/artifacts"])
@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "%2e%2e/x", "%252e%252e/x", "..%2fx", "..%5cx", "a\\..\\x", "/etc/passwd", "a%00", "./x"],
)
@pytest.mark.attack("someone with MLflow's password", "paths that leave the store", "the door, after decoding")
def test_paths_that_leave_the_store(guarded: GuardedMlflow, prefix: str, path: str) -> None:
    (guarded.folder / "x").write_text("outside")
    assert guarded.send("GET", f"{prefix}/{path}")[0] == 403
    assert guarded.send("PUT", f"{prefix}/{path}", b"written")[0] == 403
    assert (guarded.folder / "x").read_text() == "outside"
    for query in (f"{prefix}?path={quote(path)}", f"{AJAX}/upload-artifact?run_uuid=x&path={quote(path)}"):
        method, body = ("POST", b"x") if "upload" in query else ("GET", None)
        assert guarded.send(method, query, body)[0] == 403, query
    for route in ("/get-artifact", "/model-versions/get-artifact", f"{API}/artifacts/list", f"{AJAX}/artifacts/list"):
        assert guarded.send("GET", f"{route}?run_id=x&path=a&path={quote(path)}")[0] == 403, route
    for kind, name in (("directories", "artifact_directory_path"), ("files", "artifact_file_path")):
        route = f"{API}/logged-models/m-1/artifacts/{kind}?{name}={quote(path)}"
        assert guarded.send("GET", route)[0] == 403, route


def test_what_clients_do_still_works(guarded: GuardedMlflow, entrance: Row) -> None:
    for location in ("", "mlflow-artifacts:/own/place"):
        status, said = experiment(guarded, location)
        assert status == 200, said
    registry = ModelRegistry(
        tracking_address({"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}, guarded.uri),
        model=uuid.uuid4().hex,
    )
    run = run_in(guarded, json.loads(said)["experiment_id"])
    registry.write_artifact(run, "model/weights.bin", b"weights")
    assert registry.read_artifact(run, "model/weights.bin") == b"weights"
    assert registry.register(run).run_id == run
    plain = run_in(guarded, "0")
    upload = f"{AJAX}/upload-artifact?run_uuid={plain}&path=notes/a.txt"
    assert guarded.send("POST", upload, b"a note", kind="text/plain")[0] == 200
    assert guarded.send("GET", f"/get-artifact?run_uuid={plain}&path=notes/a.txt") == (200, "a note")
    for source in (f"runs:/{run}/model", f"mlflow-artifacts:/own/place/{run}/artifacts/model"):
        body: dict[str, Any] = {
            "name": registry.model,
            "source": source,
            "run_id": run,
            "tags": [{"key": "ä", "value": "ö"}],
        }
        status, said = guarded.send("POST", f"{API}/model-versions/create", json.dumps(body).encode())
        assert status == 200 and json.loads(said)["model_version"]["tags"] == body["tags"], said
    for page in ("/", "/health", "/version", "/ajax-api/3.0/mlflow/server-info"):
        assert guarded.send("GET", page)[0] == 200, page
    query = json.dumps(
        {"query": "query GetRun($r: MlflowGetRunInput!) { mlflowGetRun(input: $r) { run { info { runId } } } }"}
    )
    assert guarded.send("POST", "/graphql", query.encode())[0] == 200
    entrance("MLflow", "experiments, runs, files, versions, pages", "as before", WORKS)


@pytest.mark.attack(
    "someone at ports 5000 and 8000", "a body that fills the memory, without a password", "no body is taken"
)
def test_bodies_that_fill_the_memory(guarded: GuardedMlflow) -> None:
    port = urlsplit(guarded.uri).port or 0
    for method, status in (("POST", 401), ("PUT", 401), ("GET", 200)):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(method, "/health", b"x" * 100_000)
        assert connection.getresponse().status == status
        connection.close()
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for path, told, chunked in (
        (f"{API}/runs/search", str(LONGEST_BODY + 1), False),
        ("/api/2.0/mlflow-artifacts/artifacts/x", str(LONGEST_FILE + 1), False),
        (f"{API}/runs/search", "-1", False),
        (f"{API}/runs/search", "", True),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.putrequest("POST", path)
        connection.putheader("Authorization", f"Basic {login}")
        connection.putheader(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", told)))
        connection.endheaders()
        if chunked:
            block = b"%x\r\n" % 2**20 + b"x" * 2**20 + b"\r\n"
            with contextlib.suppress(ConnectionError):
                for _ in range(LONGEST_BODY // 2**20 + 2):
                    connection.send(block)
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            assert connection.getresponse().status in {400, 413, 500}
        connection.close()
