"""Two branches that put one scene into train and into test: the join and the settled merge look again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from workshop import Workshop, said

from wms.data.splits import SplitRecord
from wms_ops.base.layout import SPLITS

SCENE = hashlib.sha256(b"a scene").hexdigest()


def line(name: str, split: str, bit: int) -> str:
    """A recorded photo; all of them show one scene, a bit apart."""
    look = f"{int(SCENE, 16) ^ (1 << bit):064x}"
    return json.dumps({"sha256": hashlib.sha256(name.encode()).hexdigest(), "look": look, "split": split}) + "\n"


def record(shop: Workshop, branch: str, *lines: str) -> None:
    """Append lines to a branch's split record, as the loop's training does."""
    clone = shop.clone(f"records-{branch.replace('/', '-')}")
    shop.run("git", "checkout", "--quiet", branch, where=clone)
    path = clone / SPLITS
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="\n") as stream:
        stream.writelines(lines)
    shop.run("git", "add", "--", SPLITS, where=clone)
    shop.run("git", "commit", "--quiet", "--no-verify", "-m", "Record splits", where=clone)
    shop.run("git", "push", "--quiet", "--no-verify", "origin", f"HEAD:{branch}", where=clone)


def two_branches(shop: Workshop) -> str:
    """Main with a photo of a scene in train, and a branch of the same base with two of that scene in test."""
    for seed, name in enumerate(("one", "two"), 1):
        clone = shop.clone(name)
        shop.photos(clone, 1, seed=seed)
        shop.commit(clone)
        shop.push(clone)
    first, second = sorted(shop.data_branches())
    record(shop, first, line("a", "train", 0))
    record(shop, second, line("b", "test", 1), line("c", "test", 2))
    shop.merge(first)
    return second


def dataset(shop: Workshop, command: str, *arguments: str, where: Path, check: bool = True):
    return shop.run("python", "-m", "wms_ops", "data", command, *arguments, where=where, check=check)


def splits(text: str, folder: Path) -> list[tuple[str, str]]:
    path = folder / "read.jsonl"
    path.write_text(text)
    names = {hashlib.sha256(name.encode()).hexdigest(): name for name in "abc"}
    return [(names[entry.sha256], entry.split) for entry in SplitRecord(path).entries]


def test_the_join_tells_and_the_next_run_decides_by_mains_record(shop: Workshop, tmp_path: Path) -> None:
    branch = two_branches(shop)
    clone = shop.clone("joins")
    joined = dataset(shop, "join", branch, where=clone).stdout
    assert "2 photos of the joined side looked almost like photos that are kept in another split" in joined
    shop.run("git", "fetch", "--quiet", "origin", where=clone)
    text = shop.run("git", "show", f"origin/{branch}:{SPLITS}", where=clone).stdout
    assert splits(text, tmp_path) == [("a", "train")], "no record of the branch outlives the join"
    assert "looked almost" not in dataset(shop, "join", branch, where=clone).stdout


def test_a_settled_merge_leaves_no_scene_in_two_splits(shop: Workshop, tmp_path: Path) -> None:
    branch = two_branches(shop)
    clone = shop.clone("merges")
    shop.run("git", "checkout", "--quiet", branch, where=clone)
    assert "CONFLICT" in shop.run("git", "merge", "origin/main", where=clone, check=False).stdout
    done = dataset(shop, "resolve", where=clone)
    assert "2 photos of the joined side looked almost like photos" in said(done)
    shop.run("git", "commit", "--quiet", "--no-edit", where=clone)
    text = shop.run("git", "show", f"HEAD:{SPLITS}", where=clone).stdout
    assert text.startswith(line("a", "train", 0)), "main's lines stay, byte for byte"
    assert splits(text, tmp_path) == [("a", "train"), ("b", "train"), ("c", "train")]
