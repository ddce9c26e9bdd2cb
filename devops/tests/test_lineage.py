"""Every byte of the chain is guarded by a link, and the link that breaks is the one that is named."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from anchor_drawer import Drawer
from sync_shop import Shop, make_run, make_shop, promote

from wms.errors import LineageError, run_main
from wms.registry.anchors import NOBODY, MainHistory, Witnesses
from wms.registry.ledger import Ledger, LedgerEntry, link
from wms.registry.lineage import (
    CARD,
    ONNX,
    WEIGHTS,
    Copy,
    LineageEvidence,
    Link,
    find_entries,
    fingerprints,
    require_whole,
)
from wms.registry.lineage_links import check_lineage
from wms.registry.metadata import NOTHING_PROMOTED
from wms.registry.shipped import ANCHOR, ship
from wms_ops.commands import versions as check
from wms_ops.gate.witnesses import main_history
from wms_ops.git.command import Git
from wms_ops.release.evidence import collect

pytestmark = pytest.mark.usefixtures("no_mlflow")


@pytest.fixture
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return make_shop(tmp_path_factory.mktemp("lineage"))


@pytest.fixture
def shop(made: Shop, tmp_path: Path) -> Shop:
    """A copy that a test may damage."""
    shutil.copytree(made.folder, tmp_path / "shop")
    folder = tmp_path / "shop"
    return Shop(folder, folder / "clone", folder / "runs" / made.run.name, made.entry)


def evidence_of(shop: Shop) -> LineageEvidence:
    return collect(shop.models, repo=shop.clone, runs=shop.runs, registry=None)


def states(links: tuple[Link, ...]) -> dict[str, str]:
    return {link.name: link.state for link in links}


def lineage(shop: Shop) -> int:
    return run_main(check.LINEAGE, [*shop.where, "--runs", str(shop.runs)])


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_sound_chain_holds_from_the_weights_to_the_commit(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert lineage(shop) == 0
    said = capsys.readouterr().out
    assert said.count(" ok: ") == 10
    assert "not checked here: MLFLOW_TRACKING_URI isn't set." in said
    assert "10 of 11 links hold, 1 couldn't be checked here, none is broken." in said
    assert shop.entry.git_commit[:12] in said


GUARDED = {
    WEIGHTS: (WEIGHTS, ""),
    ONNX: (ONNX, ""),
    CARD: (CARD, '"threshold": 0'),
    "production_history.jsonl": ("ledger", ""),
    "production_current.json": ("ledger", ""),
    "model-metadata.json": ("model-metadata.json", ""),
    "data.jsonl": ("data.jsonl", ""),
    "config.json": ("config.json", '"seed": '),
    "test_scores.json": ("test_scores.json", '"dice": 0.9'),
}


def place_of(shop: Shop, name: str) -> Path:
    folders = {"model-metadata.json": shop.clone, "config.json": shop.run}
    folders |= dict.fromkeys(("data.jsonl", "test_scores.json"), shop.run / "artifacts")
    return folders.get(name, shop.models) / name


@pytest.mark.parametrize("name", GUARDED)
def test_one_flipped_byte_breaks_its_own_link(shop: Shop, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    link, text = GUARDED[name]
    path = place_of(shop, name)
    content = path.read_bytes()
    places = [content.index(text.encode()) + len(text)] if text else [0, len(content) // 2, len(content) - 1]
    for place in places:
        flip(path, place)
        assert lineage(shop) == 95, place
        assert f"The chain is broken at {link}: " in capsys.readouterr().err
        path.write_bytes(content)
    assert lineage(shop) == 0


def test_what_the_ledger_keeps_of_a_runs_files_guards_their_every_byte(shop: Shop) -> None:
    """Paths in config.json, spaces and names don't enter any hash but the file's own."""
    sound = evidence_of(shop)
    contents = {CARD: sound.files[CARD], **{name: copies[0].content for name, copies in sound.origin.items()}}
    sound = replace(sound, recorded=fingerprints(contents))
    require_whole(check_lineage(sound))
    draw = random.Random(4)
    for name, content in contents.items():
        for place in draw.sample(range(len(content)), 40):
            changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
            if name == CARD:
                damaged = replace(sound, files={**sound.files, name: changed})
            else:
                damaged = replace(sound, origin={**sound.origin, name: (Copy("a folder", changed),)})
            broken = [link.name for link in check_lineage(damaged) if link.state == "broken"]
            assert broken == [name], (name, place, changed[place - 20 : place + 20])


def test_a_flipped_copy_is_found_beside_a_sound_one(shop: Shop) -> None:
    manifest = shop.runs / "manifests" / f"{shop.entry.data_version}.jsonl"
    manifest.parent.mkdir()
    shutil.copy2(shop.run / "artifacts" / "data.jsonl", manifest)
    flip(manifest, 7)
    links = check_lineage(evidence_of(shop))
    assert [link.name for link in links if link.state == "broken"] == ["data.jsonl"]
    assert str(manifest) in next(link.text for link in links if link.name == "data.jsonl")


@pytest.mark.parametrize("name", [WEIGHTS, ONNX, CARD])
def test_a_missing_file_breaks_its_link(shop: Shop, name: str) -> None:
    (shop.models / name).unlink()
    links = check_lineage(evidence_of(shop))
    assert name in [link.name for link in links if link.state == "broken"]


def test_without_the_runs_folder_nothing_is_claimed(shop: Shop) -> None:
    shutil.rmtree(shop.runs)
    found = states(check_lineage(evidence_of(shop)))
    assert {found[name] for name in ("data.jsonl", "config.json", "test_scores.json", "registry")} == {"not checked"}
    assert "broken" not in found.values()


def test_a_commit_that_is_nowhere_is_broken_and_without_git_it_is_not_checked(shop: Shop) -> None:
    commit = evidence_of(shop)
    links = check_lineage(replace(commit, commit_found=False))
    with pytest.raises(LineageError, match="at Git commit: the ledger's commit"):
        require_whole(links)
    shutil.rmtree(shop.clone / ".git")
    assert states(check_lineage(evidence_of(shop)))["Git commit"] == "not checked"


def test_a_rewritten_history_loses_the_commit(shop: Shop) -> None:
    git = Git(shop.clone, {"user.name": "Ada", "user.email": "ada@example.org"})
    tree = git("write-tree")
    git("reset", "--hard", "--quiet", git("commit-tree", tree, "-m", "Another beginning"))
    git("update-ref", "-d", "refs/remotes/origin/main")
    git("reflog", "expire", "--expire=now", "--all")
    git("gc", "--quiet", "--prune=now")
    assert states(check_lineage(evidence_of(shop)))["Git commit"] == "broken"


def test_an_older_version_and_weights_that_nobody_promoted(shop: Shop) -> None:
    newer = make_run(shop.folder, seed=1, commit=shop.entry.git_commit)
    promote(newer, shop.models, 2)
    links = check_lineage(evidence_of(shop))
    ledger = next(link for link in links if link.name == "ledger")
    assert (ledger.state, "version 1 was Production once" in ledger.text) == ("holds", True)
    assert states(links)["model-metadata.json"] == "broken"  # it still speaks of version 1
    other = make_run(shop.folder, seed=2)
    for name in (WEIGHTS, ONNX, CARD):
        shutil.copy2(other / "artifacts" / "model" / name, shop.models / name)
    with pytest.raises(LineageError, match=r"production\.pth, production\.onnx, production\.json"):
        require_whole(check_lineage(evidence_of(shop)))


def test_before_the_first_promotion_the_card_is_what_counts(shop: Shop) -> None:
    for name in ("production_history.jsonl", "production_current.json"):
        (shop.models / name).unlink()
    (shop.clone / "model-metadata.json").unlink()
    found = states(check_lineage(evidence_of(shop)))
    unknown = [name for name, state in found.items() if state != "holds"]
    assert unknown == ["ledger", "anchor", "model-metadata.json", "registry"]


def test_metadata_of_no_production_agrees_with_an_empty_ledger_only(shop: Shop) -> None:
    path = shop.clone / "model-metadata.json"
    named = path.read_bytes()

    def link() -> tuple[str, str]:
        found = next(one for one in check_lineage(evidence_of(shop)) if one.name == "model-metadata.json")
        return found.state, found.text

    path.write_text(NOTHING_PROMOTED, encoding="utf-8")
    assert link() == (
        "broken",
        f"baseline is None, but {shop.entry.baseline.model_dump()} in the ledger's newest entry",
    )
    for name in ("production_history.jsonl", "production_current.json"):
        (shop.models / name).unlink()
    assert link() == ("holds", "no model is Production yet, as the ledger says")
    path.write_bytes(named)
    assert link() == ("not checked", "there is no ledger entry to compare it with")


def test_the_way_back_from_a_commit_config_data_or_version(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    entry, entries = shop.entry, Ledger(shop.models).entries()
    for text in ("1", "v1", entry.git_commit[:7], entry.config_hash, entry.data_version[:10], entry.run_id):
        assert find_entries(entries, text) == (entry,), text
    assert find_entries(entries, "2") == find_entries(entries, "") == find_entries(entries, entry.git_commit[:5]) == ()
    assert run_main(check.LINEAGE, [entry.git_commit, *shop.where]) == 0
    assert f"weights {entry.weights_sha256[:12]}" in capsys.readouterr().out
    assert run_main(check.LINEAGE, ["fffffff", *shop.where]) == 40


def test_a_card_that_lies_about_the_tensors_is_blamed(shop: Shop) -> None:
    card = json.loads((shop.models / CARD).read_bytes())
    card["parameters"] += 1
    (shop.models / CARD).write_text(json.dumps(card, indent=2, sort_keys=True) + "\n")
    with pytest.raises(LineageError, match=r"at production\.json: production\.pth has .* parameters"):
        require_whole(check_lineage(evidence_of(shop)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("input_size", 64),
        ("threshold", 0.4),
        ("mirror", True),
        ("second_look", None),
        ("detail", 32),
        ("one_strip", None),
    ],
)
def test_a_card_that_lies_about_a_setting_is_blamed(shop: Shop, key: str, value: float | None) -> None:
    """None leaves the key out, as the card of a model that was made without it does."""
    card = json.loads((shop.models / CARD).read_bytes())
    assert card.pop(key) != value
    changed = card if value is None else {**card, key: value}
    (shop.models / CARD).write_text(json.dumps(changed, indent=2, sort_keys=True) + "\n")
    with pytest.raises(LineageError, match=rf"at production\.json: {key} is "):
        require_whole(check_lineage(evidence_of(shop)))


def test_the_anchor_is_compared_with_main_the_bucket_and_the_file_beside_the_model(shop: Shop) -> None:
    def anchor(witnesses: Witnesses) -> Link:
        evidence = collect(shop.models, repo=shop.clone, runs=shop.runs, registry=None, witnesses=witnesses)
        return next(link for link in check_lineage(evidence) if link.name == "anchor")

    bucket = Drawer()
    main = main_history(shop.clone)
    assert anchor(Witnesses(MainHistory((), "main"), bucket)).state == "broken"
    assert anchor(NOBODY).state == "not checked"
    ship(shop.models, shop.entry)
    both = Witnesses(main, bucket)
    both.announce(shop.entry)
    found = anchor(both)
    assert found.state == "holds"
    assert found.text == (
        f"entry 1 is known to main (origin/main as last fetched) and {bucket.where}, and {ANCHOR} beside the model "
        "names the entry"
    )
    ((name, content),) = bucket.kept.items()
    bucket.kept[name] = content.replace(b"Ada", b"Eve")
    assert f"{bucket.where}/{name} was overwritten" in anchor(Witnesses(main, bucket)).text
    bucket.kept[name] = content
    ship(shop.models, link(shop.entry.model_copy(update={"who": "Eve"}), None))
    assert anchor(Witnesses(main, bucket)).state == "broken"
    (shop.models / ANCHOR).unlink()
    newest = replace_in_ledger(shop, who="Eve")
    assert newest != shop.entry
    # A new ledger, of which main knows nothing, rests on the bucket alone.
    assert anchor(Witnesses(main, bucket)).state == "broken"


def replace_in_ledger(shop: Shop, **lies: object) -> LedgerEntry:
    """Write the ledger anew as a whole, with hashes that fit."""
    ledger = Ledger(shop.models)
    lie = link(shop.entry.model_copy(update=lies), None)
    ledger.history.unlink()
    ledger.newest.unlink()
    return ledger.append(lie)
