"""The data settings are those of main's recipe: in the hook, in the loop, in a join, on the page of a blocked push."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest
from test_join_splits import dataset, two_branches
from workshop import INBOX, Workshop, said

from wms.errors import DataQualityError, SplitError
from wms_ops.base.layout import RECIPE
from wms_ops.git.command import Git
from wms_ops.loop.context import RunContext
from wms_ops.loop.steps_data import validate
from wms_ops.loop.workspace import clone_origin, fetch
from wms_ops.pulls.blocked import show_what_was_wrong
from wms_ops.runs.record import RunRecord


def recipe(shop: Workshop, data: str, name: str = RECIPE) -> None:
    """Put a recipe with these data settings on main."""
    clone = shop.clone(f"settings-{Path(name).stem}")
    shop.write(clone, name, f"name: t\ntraining: {{stages: [{{size: 64, epochs: 1}}]}}\ndata: {{{data}}}\n")
    shop.commit(clone, "A recipe")
    shop.run("git", "push", "--quiet", "--no-verify", "origin", "HEAD:main", where=clone)


def context_of(shop: Workshop, monkeypatch: pytest.MonkeyPatch, branch: str) -> tuple[RunContext, dict[str, str]]:
    """A loop at the step that checks the data, and that step's values."""
    for name, value in shop.s3.environ.items():
        monkeypatch.setenv(name, value)
    workspace = clone_origin(str(shop.origin), shop.folder / "loop" / "workspace").folder
    none = cast(Any, None)
    folder = shop.folder / "loop" / "run"
    context = RunContext("r1", workspace, folder, cloud=none, pulls=none, environ=shop.environ, show=lambda _: None)
    fetch(context.git)
    commit = shop.branches()[branch]
    context.git("checkout", "--quiet", commit)
    return context, {"branch": branch, "commit": commit}


def test_the_loop_checks_by_its_recipe_on_main(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = shop.clone("one")
    shop.photos(clone, 6, seed=1)
    shop.commit(clone)
    pushed = shop.push(clone)
    assert shop.data_branches(), said(pushed)
    (branch,) = shop.data_branches()
    context, values = context_of(shop, monkeypatch, branch)
    record = RunRecord(id="r1", branch=branch, started_at="2026-11-28T00:00:00+00:00")
    validate(context, record, values)
    recipe(shop, "near_duplicate_bits: 256")
    fetch(context.git)
    with pytest.raises(SplitError, match="1 scene"):
        validate(context, record, values)
    recipe(shop, "max_megapixels: 0.005", "WMS/configs/small.yaml")
    fetch(context.git)
    with pytest.raises(DataQualityError, match=r"0\.005 megapixels"):
        validate(dataclasses.replace(context, recipe="WMS/configs/small.yaml"), record, values)


def test_the_hook_and_the_page_of_a_blocked_push_take_mains_settings(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe(shop, "max_megapixels: 0.005")
    clone = shop.clone("one")
    shop.photos(clone, 1, seed=1)
    shop.commit(clone)
    assert "0.005 megapixels allowed" in said(shop.push(clone)) and not shop.data_branches()
    for name, value in shop.environ.items():
        monkeypatch.setenv(name, value)
    told = list[str]()
    show_what_was_wrong(Git(clone), str(shop.origin), "data/20260101-000000", told.append)
    page = Path(told[-1].removeprefix("What was wrong: "))
    assert "0.005 megapixels allowed" in page.read_text(encoding="utf-8"), told
    assert (clone / INBOX).is_dir()


def test_a_join_finds_the_scenes_that_main_takes_for_one(shop: Workshop) -> None:
    branch = two_branches(shop)
    recipe(shop, "near_duplicate_bits: 0")
    clone = shop.clone("joins")
    assert "looked almost" not in dataset(shop, "join", branch, where=clone).stdout
