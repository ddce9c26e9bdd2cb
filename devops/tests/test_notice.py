"""A blocked branch, a failed run and what the reaper ended reach a person: by an issue, or by a webhook."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from github_fake import Reply, fake_github

from wms.errors import UsageError
from wms_ops.base.settings import NoticeSettings
from wms_ops.loop.driver import conclude
from wms_ops.report.notice import Notice, check_way, tell
from wms_ops.runs.record import STEPS, StepState
from wms_ops.runs.store import RunStore

NOTICE = Notice(
    "data/20261121-103000: blocked", "Blocked: Dice 0.7 <!channel> @everyone\n::error::x", "https://x.org/1"
)


class Hook(BaseHTTPRequestHandler):
    """A webhook that keeps what it is sent, and answers as the server's `status` says."""

    def do_POST(self) -> None:
        server: Any = self.server
        server.seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(server.status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server: Any = HTTPServer(("127.0.0.1", 0), Hook)
    server.seen, server.status = [], 200
    monkeypatch.setenv("WMS_NOTIFY", f"http://127.0.0.1:{server.server_port}/a-secret-path")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_nobody_is_told_without_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WMS_NOTIFY", raising=False)
    assert tell(NOTICE) is False


def test_a_webhook_gets_one_line_that_wakes_nobody_up(webhook: Any) -> None:
    assert tell(NOTICE)
    (body,) = webhook.seen
    assert "&lt;!channel&gt;" in body["text"] and "@everyone" not in body["text"]
    assert body["allowed_mentions"] == {"parse": []}
    for text in (body["text"], body["content"]):
        assert text.startswith("data/20261121-103000: blocked. Blocked: Dice 0.7")
        assert text.endswith("https://x.org/1") and "\n" not in text


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_webhook_that_refuses_changes_nothing_and_its_address_isn_t_shown(
    webhook: Any, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    webhook.status = status
    assert tell(NOTICE) is False
    said = capsys.readouterr().err
    assert said.startswith("warning: nobody was told") and str(status) in said and "a-secret-path" not in said


def test_a_webhook_that_is_gone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WMS_NOTIFY", "https://127.0.0.1:1/a-secret-path")
    assert tell(NOTICE) is False
    assert "doesn't answer (ConnectError)" in (said := capsys.readouterr().err) and "a-secret-path" not in said


@pytest.mark.parametrize(
    "way",
    [
        *("mail", "issue\n2", "http://hooks.example.org/s3cret", "https://", "https://[s3cret", "file:///s3cret"),
        *(
            "https://h/s3\ncret",
            "https://h/s3 cret",
            "https://h h/s3cret",
            "https://h/\x1b[2J",
            "https://h:99999/s3cret",
        ),
    ],
)
def test_another_way_is_told_before_any_work_and_isn_t_shown(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setenv("WMS_NOTIFY", way)
    with pytest.raises(UsageError, match="WMS_NOTIFY must be issue, or the address of a webhook") as caught:
        check_way()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("way", ["issue ", "\tissue\n", " https://hooks.example.org/s3cret\n"])
def test_blanks_around_a_way_are_no_part_of_it(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setenv("WMS_NOTIFY", way)
    check_way()
    assert NoticeSettings.read().wms_notify == way.strip()


@pytest.fixture
def issues(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The issues of a GitHub that real `gh` talks to."""
    known: list[dict[str, Any]] = []

    def answer(method: str, where: str, asked: dict[str, str], body: Any) -> Reply:
        if where == "/issues" and method == "GET":
            assert asked["state"] == "open" and asked["labels"] == "wms"
            return 200, [one for one in known if one["state"] == "open"]
        if where == "/issues":
            known.append({**body, "number": len(known) + 1, "state": "open", "comments": []})
            return 201, known[-1]
        comments = known[int(where.split("/")[2]) - 1]["comments"]
        if method == "POST":
            comments.append(body)
            return 201, body
        return 200, comments

    with fake_github() as github:
        github.more = answer
        for name, value in github.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("WMS_NOTIFY", "issue")
        yield known


def test_an_issue_is_opened_once_and_commented_when_there_is_news(issues: list[dict[str, Any]], tmp_path: Path) -> None:
    for _ in range(3):
        assert tell(NOTICE, tmp_path)
    (issue,) = issues
    assert (issue["title"], issue["labels"], issue["comments"]) == (NOTICE.title, ["wms"], [])
    assert "@everyone" not in issue["body"] and issue["body"].endswith("https://x.org/1")
    for _ in range(2):
        assert tell(Notice(NOTICE.title, "Failed: no disk."), tmp_path)
    assert [one["body"] for one in issue["comments"]] == ["Failed: no disk."]
    issue["state"] = "closed"
    assert tell(NOTICE, tmp_path) and len(issues) == 2


def test_comments_that_github_does_not_hand_out_change_nothing(
    issues: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell(NOTICE, tmp_path)
    with fake_github() as github:
        github.more = lambda method, where, *_: (200, issues) if where == "/issues" else (403, {"message": "No."})
        for name, value in github.environ.items():
            monkeypatch.setenv(name, value)
        assert tell(Notice(NOTICE.title, "Failed."), tmp_path) is False
    assert "GitHub refuses to list the issue's comments: No." in capsys.readouterr().err


def test_a_blocked_and_a_failed_run_are_told_a_merged_one_isn_t(webhook: Any, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for state, outputs, expected in (
        (StepState.FAILED, {}, "failed"),
        (StepState.DONE, {"decision": "not improved", "gate_reason": "Dice fell."}, "blocked"),
        (StepState.DONE, {"photos_total": "3", "photos_new": "0", "photos_before": "3"}, ""),
    ):
        webhook.seen.clear()
        record = store.create("data/20261121-103000")
        for name in STEPS:
            record = record.with_step(record.step(name).model_copy(update={"state": StepState.SKIPPED}))
        step = record.step("gate").model_copy(update={"state": state, "outputs": outputs, "text": "It broke."})
        record = conclude(store, record.with_step(step))
        assert store.load(record.id) == record
        said = [one["content"] for one in webhook.seen]
        assert [text.partition(".")[0] for text in said] == ([f"data/20261121-103000: {expected}"] if expected else [])
