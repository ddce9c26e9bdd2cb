"""A promoted model goes to a release on GitHub whole and once, and `sync_model.py` gets it from there; by real gh."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from github_fake import FakeGitHub, fake_github
from sync_shop import Shop, make_run, make_shop, model_files

from wms.errors import ModelDamagedError, ModelNotFoundError, run_main
from wms.registry.lineage import CARD, DOCUMENTS, FILES, ONNX, WEIGHTS
from wms_ops.base.errors import AccessDeniedError, DamagedBlobError, StoreUnreachableError
from wms_ops.commands import sync
from wms_ops.pulls.gh import GitHub
from wms_ops.release.publish import publish_release, release_documents
from wms_ops.release.releases import Releases
from wms_ops.release.sources import ReleaseSource, release_tag

STEPS = ("draft", *(f"upload {name}" for name in FILES), "verify", "publish", "tidy", "done")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("release"))


@pytest.fixture
def files(shop: Shop) -> dict[str, bytes]:
    return model_files(shop.run)


@pytest.fixture
def tag(shop: Shop) -> str:
    return release_tag(shop.entry.weights_sha256)


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with fake_github() as fake:
        for name, value in fake.environ.items():
            monkeypatch.setenv(name, value)
        yield fake


@pytest.fixture
def here(tmp_path: Path, github: FakeGitHub) -> GitHub:
    return GitHub(tmp_path)


def test_published_and_had_back_by_sync_model(
    shop: Shop, here: GitHub, github: FakeGitHub, files: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish_release(here, shop.run / "artifacts" / "model") is True
    shop.forget()
    assert run_main(sync.COMMAND, shop.where) == 0
    assert "from the releases on GitHub" in capsys.readouterr().out
    assert {name: (shop.models / name).read_bytes() for name in FILES} == files
    assert not github.drafts


@pytest.mark.parametrize("digests", [True, False], ids=["with digests", "without"])
def test_the_second_time_nothing_is_sent(
    here: GitHub, github: FakeGitHub, files: dict[str, bytes], tag: str, digests: bool
) -> None:
    github.digests = digests
    assert publish_release(here, files) is True
    assert github.releases == {tag: files}
    github.calls.clear()
    github.requests.clear()
    assert publish_release(here, files) is False
    assert github.calls == []
    assert sum("/assets/" in path for path in github.requests) == (0 if digests else len(FILES))


class StopError(BaseException):
    """The end of the process, at a step."""


def test_killed_at_each_step_and_run_again(
    here: GitHub, github: FakeGitHub, files: dict[str, bytes], tag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every step is a request of its own that GitHub has answered before the next: an exception is as good a kill."""
    rows = []
    for wanted in STEPS:
        github.releases.clear()
        github.drafts.clear()
        seen = []

        def step(name: str, wanted: str = wanted, seen: list[str] = seen) -> None:
            seen.append(name)
            if name == wanted:
                raise StopError

        with pytest.raises(StopError):
            publish_release(here, files, step=step)
        assert seen == [*STEPS[: STEPS.index(wanted) + 1]]
        if wanted in STEPS[:-2]:
            assert github.releases == {}  # nobody sees half of it
        there = len(github.drafts) + len(github.releases)
        sent = [call for call in github.calls if call.endswith("/assets")]
        changed = publish_release(here, files)
        assert github.releases == {tag: files}
        assert not github.drafts
        assert len([call for call in github.calls if call.endswith("/assets")]) == len(FILES)
        assert publish_release(here, files) is False
        rows.append(
            f"  {wanted:23} {there} release or draft, {len(sent)} files sent; the second run "
            f"{'did the rest' if changed else 'had nothing to do'}"
        )
        github.calls.clear()
    with capsys.disabled():
        print("\nkill matrix of publish_release: step, what was there\n" + "\n".join(rows))


DOCUMENTS_SENT = {"MODEL_CARD.md": b"# Card", "MODEL_CARD.html": b"<p>1</p>", "worst-photos.jpg": b"photos"}


def test_the_card_joins_the_release_and_comes_with_a_sync(
    shop: Shop, here: GitHub, github: FakeGitHub, files: dict[str, bytes], tag: str
) -> None:
    with pytest.raises(ModelNotFoundError, match=f"no release {tag} for the model card"):
        release_documents(here, shop.entry.weights_sha256, DOCUMENTS_SENT)
    publish_release(here, files)
    release_documents(here, shop.entry.weights_sha256, DOCUMENTS_SENT)
    assert github.releases == {tag: files | DOCUMENTS_SENT}
    github.calls.clear()
    release_documents(here, shop.entry.weights_sha256, DOCUMENTS_SENT)
    assert github.calls == [], "nothing is sent twice"
    assert publish_release(here, files) is False, "the card is no part of the model"
    assert run_main(sync.COMMAND, [*shop.where, "--force"]) == 0
    assert {path.name: path.read_bytes() for path in shop.models.iterdir() if path.name in DOCUMENTS} == (
        DOCUMENTS_SENT
    )
    kept = {"MODEL_CARD.md": b"# After a rollback", "MODEL_CARD.html": b"<p>2</p>"}
    release_documents(here, shop.entry.weights_sha256, kept)
    assert github.releases == {tag: files | kept}, "photos leave where publish_photos is off again"
    assert run_main(sync.COMMAND, [*shop.where, "--force"]) == 0
    assert (shop.models / "MODEL_CARD.md").read_bytes() == b"# After a rollback"
    assert not (shop.models / "worst-photos.jpg").exists()


def test_drafts_of_two_who_came_at_once_become_one_release(
    here: GitHub, github: FakeGitHub, files: dict[str, bytes], tag: str
) -> None:
    releases = Releases(here)
    first, second = (releases.create_draft(tag, "Model", "") for _ in range(2))
    releases.replace(second, WEIGHTS, b"half a mod")
    other = releases.create_draft("v1.0", "A release of the code", "")
    publish_release(here, files)
    assert github.releases == {tag: files}
    assert first.id not in github.drafts
    assert second.id not in github.drafts
    assert other.id in github.drafts


def test_a_draft_is_found_among_many_releases(
    here: GitHub, github: FakeGitHub, files: dict[str, bytes], tag: str
) -> None:
    draft = Releases(here).create_draft(tag, "Model", "")
    github.releases |= {f"v{number}": {} for number in range(250)}
    github.drafts[999] = (f"{tag}0", {})
    github.drafts = {**{key: github.drafts[key] for key in (999,)}, draft.id: github.drafts[draft.id]}
    assert [found.id for found in Releases(here).drafts(tag)] == [draft.id]
    publish_release(here, files)
    assert github.releases[tag] == files
    assert len([call for call in github.calls if call == "POST /releases"]) == 1


@pytest.mark.parametrize("name", FILES)
def test_a_torn_file_of_a_published_release_is_replaced(
    here: GitHub, github: FakeGitHub, files: dict[str, bytes], tag: str, name: str
) -> None:
    publish_release(here, files)
    github.releases[tag][name] = files[name][:-9]
    assert publish_release(here, files) is True
    assert github.releases == {tag: files}
    del github.releases[tag][name]
    assert publish_release(here, files) is True
    assert github.releases == {tag: files}


def test_bytes_that_change_on_their_way_are_noticed_before_anybody_sees_them(
    here: GitHub, github: FakeGitHub, files: dict[str, bytes], tag: str
) -> None:
    github.spoil = lambda content: content[:-1] + b"!"
    with pytest.raises(DamagedBlobError, match=r"isn't what was sent there; run this again"):
        publish_release(here, files)
    assert github.releases == {}
    github.spoil = bytes
    assert publish_release(here, files) is True
    assert github.releases == {tag: files}


def test_the_same_weights_with_other_settings_are_refused(
    here: GitHub, github: FakeGitHub, files: dict[str, bytes], tag: str
) -> None:
    publish_release(here, files)
    card = json.loads(files[CARD])
    other = {**files, ONNX: files[ONNX] + b"\x00"}
    other[CARD] = json.dumps({**card, "onnx_sha256": sha256(other[ONNX]).hexdigest()}).encode()
    with pytest.raises(ModelDamagedError, match=r"already holds these weights with another production\.onnx"):
        publish_release(here, other)
    assert github.releases == {tag: files}


def test_what_does_not_belong_together_is_not_published(
    here: GitHub, github: FakeGitHub, files: dict[str, bytes], tmp_path: Path
) -> None:
    other = model_files(make_run(tmp_path, seed=1))
    for mixed in ({**files, WEIGHTS: other[WEIGHTS]}, {**files, CARD: b"[]"}):
        with pytest.raises(ModelDamagedError):
            publish_release(here, mixed)
    with pytest.raises(ModelNotFoundError, match=r"lacks production\.onnx"):
        publish_release(here, {WEIGHTS: files[WEIGHTS], CARD: files[CARD]})
    assert github.requests == []


def test_a_login_that_may_only_read(here: GitHub, github: FakeGitHub, files: dict[str, bytes]) -> None:
    github.read_only = True
    with pytest.raises(AccessDeniedError, match="needs the right to write this repository's contents"):
        publish_release(here, files)
    github.refuse_with = 502
    with pytest.raises(StoreUnreachableError):
        publish_release(here, files)


def test_asked_too_often(here: GitHub, github: FakeGitHub) -> None:
    github.more = lambda *_: (403, {"message": "You have exceeded a secondary rate limit."})
    with pytest.raises(StoreUnreachableError, match=r"asked too often .* takes requests again from \d\d:\d\d:\d\d UTC"):
        here.ask("repos/{owner}/{repo}/pulls", what="pulls")


def test_two_models_are_two_releases(here: GitHub, github: FakeGitHub, files: dict[str, bytes], tmp_path: Path) -> None:
    run = make_run(tmp_path, seed=1)
    publish_release(here, files)
    publish_release(here, run / "artifacts" / "model")
    assert len(github.releases) == 2
    with pytest.raises(ModelNotFoundError):
        ReleaseSource(GitHub(tmp_path))._github.download_release("model-000000000000", ["production.json"], tmp_path)


def test_only_a_model_s_own_files_are_downloaded(
    here: GitHub, github: FakeGitHub, files: dict[str, bytes], tag: str, tmp_path: Path
) -> None:
    """Whoever may change a release could add a file of any size and name."""
    publish_release(here, files)
    github.releases[tag]["production.huge"] = b"x"
    here.download_release(tag, FILES, tmp_path / "model")
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == files
