"""The routes, asked in this process: the same mask as predicts.py, and what is told about it."""

from __future__ import annotations

import base64
import io
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from serving_workshop import SIZE, app_of, ask, photo, predict, promote

from wms.data.images import decode_image
from wms.inference import cli
from wms.inference.predictor import Predictor
from wms.serving.app import create_app
from wms.serving.service import Service

pytest_plugins = ["serving_fixtures"]


def mask_by_predicts(folder: Path, content: bytes, suffix: str, scratch: Path) -> bytes:
    """The file that predicts.py writes for a photo."""
    (scratch / "in").mkdir()
    (scratch / "in" / f"meter{suffix}").write_bytes(content)
    where = ["--input", str(scratch / "in"), "--output", str(scratch / "out"), "--model", str(folder)]
    assert cli.COMMAND([*where, "--threads", "1"]) == 0
    return (scratch / "out" / "meter.png").read_bytes()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("kind", [("JPEG", ".jpg"), ("PNG", ".png"), ("TIFF", ".tif")])
def test_the_mask_is_the_one_of_predicts(
    app: FastAPI, promoted: Path, tmp_path: Path, kind: tuple[str, str], orientation: int
) -> None:
    content = photo(kind[0], orientation=orientation)
    answer = predict(app, content)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == mask_by_predicts(promoted, content, kind[1], tmp_path)
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, picture.mode) == ("PNG", "L")
    assert picture.size == (SIZE if orientation in (1, 3) else SIZE[::-1])
    mask = np.asarray(picture)
    assert np.array_equal(mask == 255, Predictor(promoted, threads=1).predict(decode_image(content, "it")))
    assert set(np.unique(mask)) == {0, 255}


def test_headers_and_json_say_the_same(app: FastAPI, promoted: Path) -> None:
    content = photo(orientation=6)
    answer, told = predict(app, content), predict(app, content, "?format=json").json()
    mask = np.asarray(Image.open(io.BytesIO(answer.content))) == 255
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert answer.headers["x-model-version"] == "3"
    assert answer.headers["x-weights-sha256"] == Predictor(promoted).weights_sha256
    assert answer.headers["x-strip-share"] == f"{mask.sum() / mask.size:.6f}"
    assert 0 < float(answer.headers["x-predict-milliseconds"]) < 60_000
    assert 0 < told.pop("milliseconds") < 60_000
    assert told == {
        "version": 3,
        "width": 90,
        "height": 130,
        "strip_share": round(mask.sum() / mask.size, 6),
        "box": [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1],
        "mask_png_base64": base64.b64encode(answer.content).decode(),
    }


def test_a_photo_without_a_strip_has_no_box(own: Path) -> None:
    service = Service.load(own, own, threads=1)
    service.require_model().predictor.threshold = 1.0  # no probability of this network reaches it
    told = predict(create_app(service), photo(), "?format=json").json()
    assert (told["strip_share"], told["box"]) == (0.0, None)


def test_health_and_version(app: FastAPI, promoted: Path) -> None:
    weights, onnx = Predictor(promoted).weights_sha256, Predictor(promoted).onnx_sha256
    health = ask(app, "GET", "/health")
    assert health.status_code == 200
    assert health.json() == {"status": "healthy", "version": 3, "weights_sha256": weights}
    told = ask(app, "GET", "/version").json()
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", told.pop("started_at"))
    assert re.fullmatch(r"\d+\.\d+.*|unknown", told.pop("service"))
    assert told == {
        "version": 3,
        "run_id": f"{3:032x}",
        "weights_sha256": weights,
        "onnx_sha256": onnx,
        "data_version": "e" * 64,
        "git_commit": "c" * 40,
        "config_hash": "d" * 64,
        "trained_at": "2026-11-01T09:00:00+00:00",
        "promoted_at": "2026-11-03T10:00:00+00:00",
        "metrics": {"dice": 0.91, "iou": 0.85},
        "is_production": True,
        "has_card": False,
    }


def test_the_model_card_is_a_page_that_loads_nothing(own: Path) -> None:
    without = ask(app_of(own), "GET", "/card")
    assert (without.status_code, without.json()["reason"]) == (404, "no_card")
    assert "Version 3 has no model card here" in without.json()["error"]
    page = own / "MODEL_CARD.html"
    page.write_text("<p>another model's</p>")
    assert ask(app_of(own), "GET", "/card").status_code == 404, "a card of other weights is none of this model's"
    page.write_text(f"<p>{Predictor(own).weights_sha256}</p>")
    app = app_of(own)
    answer = ask(app, "GET", "/card")
    assert (answer.status_code, answer.text) == (200, page.read_text())
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src" not in policy
    assert ask(app, "HEAD", "/card").status_code == 200
    assert ask(app, "GET", "/version").json()["has_card"] is True
    assert 'href="card"' in ask(app, "GET", "/").text
    (own / "production.onnx").unlink()
    assert ask(app_of(own), "GET", "/card").json()["reason"] == "no_model"


def test_a_version_that_was_left_says_so(own: Path) -> None:
    promote(own, own, 4, weights_sha256="a" * 64, onnx_sha256="b" * 64, trained_at="")
    told = ask(app_of(own), "GET", "/version").json()
    assert (told["version"], told["is_production"]) == (3, False)
    promote(own, own, 3, action="rollback", trained_at="")
    told = ask(app_of(own), "GET", "/version").json()
    assert (told["version"], told["is_production"], told["trained_at"]) == (3, True, None)


def test_the_metrics_are_the_four_of_the_contract_and_nobody_elses(promoted: Path) -> None:
    app, other = app_of(promoted), app_of(promoted)
    for _ in range(2):
        assert predict(app, photo()).status_code == 200
    predict(app, b"no photo")
    answer = ask(app, "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    lines = answer.text.splitlines()
    assert {line.split()[2] for line in lines if line.startswith("# TYPE")} == {
        "wms_predictions_total",
        "wms_predict_latency_seconds",
        "wms_predict_errors_total",
        "wms_model_loaded",
    }
    assert 'wms_predictions_total{status="ok",version="3"} 2.0' in lines
    assert 'wms_predictions_total{status="error",version="3"} 1.0' in lines
    assert 'wms_predict_latency_seconds_count{version="3"} 2.0' in lines
    assert 'wms_predict_errors_total{reason="not_an_image",version="3"} 1.0' in lines
    assert "wms_model_loaded 1.0" in lines
    buckets = [float(limit) for limit in re.findall(r'_bucket\{le="([\d.]+)"', answer.text)]
    assert (buckets[0], buckets[-1]) == (0.05, 10.0)
    assert 'wms_predictions_total{status="ok",version="3"} 0.0' in ask(other, "GET", "/metrics").text


def test_the_log_has_a_line_a_request_and_nothing_of_the_clients(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="wms.serving")
    predict(app, photo(), "?format=json")
    ask(app, "GET", "/health?secret=1")
    ask(app, "GET", "/my%0asecret")
    ask(app, "SECRET", "/health")
    lines = [
        re.sub(r" \d+ ms ", " N ms ", record.getMessage()) for record in caplog.records if "http" not in record.name
    ]
    assert lines == [
        "POST /predict 200 N ms version 3",
        "GET /health 200 N ms version 3",
        "GET other 404 N ms version 3",
        "other /health 405 N ms version 3",
    ]


def test_the_page_and_the_description(app: FastAPI) -> None:
    page = ask(app, "GET", "/")
    assert page.headers["content-type"].startswith("text/html")
    assert 'name="file"' in page.text
    paths = ask(app, "GET", "/openapi.json").json()["paths"]
    assert set(paths) == {"/health", "/version", "/metrics", "/predict", "/card"}
    predicted = paths["/predict"]["post"]
    assert "multipart/form-data" in predicted["requestBody"]["content"]
    assert set(predicted["responses"]["200"]["content"]) == {"image/png", "application/json"}
