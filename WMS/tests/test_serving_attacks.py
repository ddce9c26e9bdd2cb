"""Attacks on the service's pages: by the Host header, by scripts from elsewhere, by what a refusal tells."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from serving_workshop import app_of, ask, photo, predict

pytest_plugins = ["serving_fixtures"]

PAGES = ("/", "/health", "/version", "/card", "/metrics", "/openapi.json", "/docs", "/redoc", "/docs/oauth2-redirect")


@pytest.mark.parametrize("path", [f"{page}/" for page in PAGES[1:]] + ["/predict/", "/%2e%2e/health/"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.attack("someone at ports 5000 and 8000", "a redirect by the Host header", "no redirects")
def test_no_answer_leads_to_the_host_that_a_client_names(app: FastAPI, method: str, path: str) -> None:
    lies = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil.example"}
    answer = ask(app, method, path, headers=lies)
    assert answer.status_code in {404, 405}
    assert "location" not in answer.headers and "evil.example" not in answer.text


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.attack(
    "someone at ports 5000 and 8000",
    "pages with scripts from elsewhere",
    "none; a content security policy",
)
def test_no_page_repeats_the_host_or_loads_from_elsewhere(app: FastAPI, path: str) -> None:
    answer = ask(app, "GET", path, headers={"Host": "evil.example", "Origin": "https://evil.example"})
    assert "evil.example" not in answer.text + str(answer.headers)
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    if "html" in answer.headers["content-type"]:
        assert not re.search(r"(?:src|href|action)=[\"']?(?:https?:)?//", answer.text)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "form-action 'self'" in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("missing", ["production.onnx", "production_history.jsonl"])
@pytest.mark.attack("someone at ports 5000 and 8000", "paths of the machine in answers", "told in the log only")
def test_a_refusal_names_no_path_of_the_machine(own: Path, missing: str) -> None:
    (own / missing).unlink()
    app = app_of(own)
    answers: list[httpx.Response] = [ask(app, "GET", page) for page in PAGES] + [predict(app, photo())]
    assert not [answer.text for answer in answers if str(own.parent) in answer.text]
    assert own.name in ask(app, "GET", "/health").json()["reason"]
