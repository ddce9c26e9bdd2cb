"""The section of a recipe about the gate."""

from __future__ import annotations

from typing import Any

import pytest

from wms.config import GateConfig, parse_config
from wms.errors import ConfigError


def recipe(**gate: Any) -> dict[str, Any]:
    return {"name": "x", "training": {"stages": [{"size": 32, "epochs": 1}]}, "gate": gate}


def test_a_recipe_may_hold_a_gate_and_its_hash_does_not_change() -> None:
    plain = parse_config({key: value for key, value in recipe().items() if key != "gate"}, "test")
    strict = parse_config(recipe(mode="dry-run", min_confidence=0.95, slices=["coverage"]), "test")
    assert strict.gate.min_confidence == 0.95
    assert plain.gate == GateConfig()
    assert strict.hash == plain.hash


def test_a_bare_off_in_yaml_means_off() -> None:
    import yaml

    assert parse_config(recipe(**yaml.safe_load("mode: off")), "test").gate.mode == "off"


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"mode": "on"}, "gate.mode"),
        ({"mode": True}, "gate.mode"),
        ({"min_confidence": 1.0}, "gate.min_confidence"),
        ({"min_confidence": 0.9999999}, "gate.min_confidence"),
        ({"min_confidence": 0.9999, "repeated_use": True}, "min_confidence is 0.999 at most"),
        ({"min_confidence": 95}, "gate.min_confidence"),
        ({"max_regression_per_image": -0.1}, "gate.max_regression_per_image"),
        ({"slices": ["colour"]}, "gate.slices"),
        ({"floor": 1.01}, "gate.floor"),
        ({"floor": -0.01}, "gate.floor"),
        ({"min_improvment": 0.1}, "did you mean 'min_improvement'"),
    ],
)
def test_a_wrong_setting_is_refused(gate: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(recipe(**gate), "test")
