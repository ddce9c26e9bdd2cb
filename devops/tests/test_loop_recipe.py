"""How strict the gate is says main's recipe at the origin, whatever a branch, the workspace or an option says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from test_review import Project
from test_review import project as project  # noqa: PLC0414 - a fixture

from wms.errors import ConfigError
from wms_ops.base.errors import BranchContentError
from wms_ops.base.layout import RECIPE
from wms_ops.loop.context import RunContext
from wms_ops.loop.steps_decide import main_recipe
from wms_ops.loop.workspace import check_out, clone_origin, fetch

STRICT, LOOSE = (
    f"name: t\ntraining: {{stages: [{{size: 64, epochs: 1}}]}}\ngate: {{{gate}}}\n"
    for gate in ("min_confidence: 0.95, max_regression_per_image: 0.2", "mode: off")
)
BRANCH = "data/20261128-120000"


@pytest.fixture
def context(project: Project, tmp_path: Path) -> RunContext:
    """A loop whose origin has a strict recipe on main, and a loose one on a data branch."""
    project.on_main(RECIPE, text=STRICT)
    project.git("branch", "--force", BRANCH, "main")
    project.git("checkout", "--quiet", BRANCH)
    project.write(RECIPE, text=LOOSE)
    project.commit()
    workspace = clone_origin(str(project.folder), tmp_path / "loop" / "workspace").folder
    none = cast(Any, None)
    return RunContext("r1", workspace, tmp_path / "run", cloud=none, pulls=none, environ={}, show=lambda _: None)


def test_the_gate_takes_mains_settings_and_says_so(context: RunContext, project: Project) -> None:
    with pytest.raises(BranchContentError, match=RECIPE):
        check_out(context, project.git("rev-parse", BRANCH), BRANCH)
    # Whatever lies in the workspace: an edit there, or a commit that was let in by other code.
    context.git("checkout", "--quiet", f"origin/{BRANCH}")
    assert context.config().gate.mode == "off"
    config, source = main_recipe(context)
    assert (config.gate.mode, config.gate.min_confidence, config.gate.max_regression_per_image) == (
        "enforce",
        0.95,
        0.2,
    )
    assert source == f"{RECIPE} of main at {project.main[:12]}"
    assert config.data.folder == context.data and config.data.cache_folder.is_relative_to(context.workspace)


def test_a_main_that_became_stricter_since_the_training_counts(context: RunContext, project: Project) -> None:
    fetch(context.git)
    project.git("checkout", "--quiet", "-B", "branch", "main")
    after = project.on_main(RECIPE, text=STRICT.replace("0.95", "0.99"))
    config, source = main_recipe(context)
    assert config.gate.min_confidence == 0.99 and source.endswith(after[:12])


@pytest.mark.parametrize("name", ["/loose.yaml", "../loose.yaml", "WMS/configs/loose.yaml"])
def test_a_recipe_that_main_lacks_is_refused(context: RunContext, name: str, tmp_path: Path) -> None:
    """An absolute path, a path out of the repository, and a file that lies in the workspace only."""
    path = tmp_path / "loose.yaml" if name.startswith("/") else context.workspace / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(LOOSE, encoding="utf-8")
    other = replace(context, recipe=str(path) if name.startswith("/") else name)
    with pytest.raises(ConfigError, match="the gate takes main's settings; name a recipe with --recipe"):
        main_recipe(other)
    if name != "WMS/configs/loose.yaml":
        with pytest.raises(ConfigError, match="lies outside of the repository"):
            other.config()
