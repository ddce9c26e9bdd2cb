"""What dvc.yaml says, compared with what the code does: outputs, code and settings that decide the weights."""

from __future__ import annotations

import subprocess
import sys

import yaml
from small import ROOT, environment, recipe

from wms.config import parse_config
from wms.training import candidate

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]

# Modules that the training loop imports and that change no weight: what they do shows in prepared.json or nowhere.
DECIDE_NOTHING = {
    "config", "config_gate", "data", "data.alike", "data.hashes", "data.pairs", "data.splits", "data.looks",
    "data.overlay",
    "data.versions", "errors", "files", "formats", "inference", "inference.runtime", "json_text", "libraries", "links",
    "names", "paths", "pipes", "project", "quiet",
    "regular", "settings", "start", "text", "training", "training.best", "training.checkpoint",
    "training.core_share", "training.memory", "training.prepare", "training.tracker",
}  # fmt: skip


def test_every_output_is_uncached_and_the_split_record_persists() -> None:
    """`dvc pull` fails while the remote lacks a cached output; DVC deletes what doesn't persist."""
    outputs = {
        name: settings
        for stage in STAGES.values()
        for kind in ("outs", "metrics", "plots")
        for entry in stage.get(kind, [])
        for name, settings in entry.items()
    }
    assert {name for name, settings in outputs.items() if settings.get("cache") is not False} == set()
    assert {name for name, settings in outputs.items() if settings.get("persist")} == {"${splits}"}


def test_dvc_yaml_names_the_sections_that_the_hash_covers() -> None:
    """Else a change of the recipe would train nothing, or one of the gate's settings would train again."""
    (sections,) = STAGES["train"]["params"][0].values()
    decisions = parse_config(recipe(), "small").decisions()
    assert set(sections) == decisions.keys()
    assert "gate" not in decisions
    for path in sorted((ROOT / "WMS/configs").glob("*.yaml")):
        missing = set(sections) - yaml.safe_load(path.read_text(encoding="utf-8")).keys()
        assert not missing, f"dvc.yaml can't take {path.name}"


def test_dvc_yaml_names_the_code_that_decides_the_weights() -> None:
    package = "WMS/src/wms/"
    named = {dep.removeprefix(package) for dep in STAGES["train"]["deps"] if dep.startswith(package)}
    assert named == set(candidate.CODE)
    code = (
        "import sys, wms.training.loop, wms.training.evaluation, wms.training.prepare; "
        "print(*(m.removeprefix('wms.') for m in sys.modules if m.startswith('wms.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(PYTHONPATH=str(ROOT / "WMS/src")),
                          capture_output=True, text=True, check=True)  # fmt: skip
    loaded = (name.replace(".", "/") for name in set(done.stdout.split()) - DECIDE_NOTHING)
    unnamed = {f"{name}.py" for name in loaded if not name.startswith("models")} - named
    assert "models" in named and not unnamed, "add them to CODE and dvc.yaml, or to DECIDE_NOTHING"
