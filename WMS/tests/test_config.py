"""Recipes: what is refused and with which words, and what the hash covers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from wms.config import RunConfig, load_config, parse_config
from wms.errors import ConfigError

HERE = Path(__file__).parent
SHIPPED = sorted((HERE.parent / "configs").glob("*.yaml"))
INVALID = sorted((HERE / "invalid_configs").glob("*.yaml"))
EXPECT = "# expect: "

MINIMAL: Mapping[str, Any] = {
    "name": "minimal",
    "seed": 3,
    "training": {"stages": [{"size": 128, "epochs": 2}, {"size": 256, "epochs": 1}]},
}


def recipe(**sections: Any) -> dict[str, Any]:
    """The minimal recipe with some keys set; a nested mapping is merged into its section."""
    values: dict[str, Any] = copy.deepcopy(dict(MINIMAL))
    for key, value in sections.items():
        merged = {**values.get(key, {}), **value} if isinstance(value, Mapping) else value
        values[key] = merged
    return values


def parse(**sections: Any) -> RunConfig:
    return parse_config(recipe(**sections), "test.yaml")


def test_there_are_shipped_and_invalid_recipes() -> None:
    assert SHIPPED
    assert len(INVALID) >= 6


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_recipe_parses(path: Path) -> None:
    assert len(load_config(path).hash) == 64


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_every_invalid_recipe_is_refused_with_its_reason(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(EXPECT)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert first.removeprefix(EXPECT) in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"sed": 1}, "unknown key 'sed', did you mean 'seed'"),
        ({"data": {"foldr": "x"}}, "unknown key 'data.foldr', did you mean 'folder'"),
        ({"loss": {"qqqq": 1}}, "unknown key 'loss.qqqq', valid keys are bce, dice"),
        (
            {"training": {"stages": [{"size": 128, "epochs": 1, "siz": 2}]}},
            "unknown key 'training.stages.0.siz', did you mean 'size'",
        ),
        ({"training": {"stages": [{"size": 128}]}}, "key 'training.stages.0.epochs' is missing"),
        ({"training": {"stages": []}}, "training.stages: "),
        ({"training": {"batch_size": "many"}}, "training.batch_size: "),
        ({"training": {"batch_size": True}}, "training.batch_size: a number is wanted here"),
        ({"training": "fast"}, "training: "),
        ({"seed": -1}, "seed: "),
        ({"optimiser": {"learning_rate": float("nan")}}, "optimiser.learning_rate: "),
        ({"optimiser": {"name": "sgd"}}, "optimiser.name: "),
        ({"model": {"channels": [16, 32, 0, 64, 128]}}, "model.channels.2: "),
        ({"model": {"channels": [16, 32]}}, "model.channels"),
        ({"augmentation": {"zoom": [2.0, 1.0]}}, "zoom must be [low, high]"),
        ({"augmentation": {"rotation": 1.5}}, "augmentation.rotation: "),
        ({"loss": {"bce": 0, "dice": 0}}, "bce and dice are both 0"),
        ({"optimiser": {"learning_rate": 0.001}, "schedule": {"minimum": 0.1}}, "schedule.minimum is larger"),
        ({"schedule": {"kind": "plateau", "warmup": 0.2}}, "schedule.warmup belongs to kind cosine"),
        ({"data": {"cache_size": 128}}, "data.cache_size 128 is smaller than the largest stage, 256"),
        ({"training": {"batch_size": 1, "stages": [{"size": 16, "epochs": 1}]}}, "batch_size 1 at 16 pixels"),
    ],
)
def test_refused_with_words_that_name_the_field(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(**sections)
    assert "test.yaml: " in str(caught.value)
    assert words in str(caught.value)


def test_a_key_of_a_later_version_in_a_runs_own_config_is_told_as_such() -> None:
    values = parse().model_dump(mode="json")
    for sections, key in (
        ({"mixture": 1}, "mixture"),
        ({"seed_of_split": 1}, "seed_of_split"),  # near to seed, which is there, so that it's no typing error
        ({"loss": {**values["loss"], "focal": 1}}, "loss.focal"),
    ):
        with pytest.raises(ConfigError) as caught:
            parse_config({**values, **sections}, "config.json", stored=True)
        assert str(caught.value) == (
            f"config.json was written by a newer version: this one doesn't know the key {key!r}; update this clone."
        )
        with pytest.raises(ConfigError, match=f"unknown key '{key}'"):
            parse_config({**values, **sections}, "config.json")
    values["sed"] = values.pop("seed")
    with pytest.raises(ConfigError, match="unknown key 'sed', did you mean 'seed'"):
        parse_config(values, "config.json", stored=True)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"seed: .*; unknown key 'sed'"):
        parse(seed="x", sed=1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name: [1, 2\nseed: 1\n", "isn't valid YAML"),
        (b"name: \x07\n", "isn't valid YAML"),
        (b"name: 2026-13-45\n", "isn't valid YAML"),
        (b"training: {stages: 1, stages: 2}\n", "line 1 isn't valid YAML: the key 'stages' is given twice"),
        (b"\xff\xfe\xfa", "it isn't UTF-8 text"),
        (b"", "a config is a mapping"),
        (b"just text", "a config is a mapping"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_an_absent_file_or_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="Can't read the config"):
        load_config(tmp_path / name)


def reversed_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: reversed_keys(value[key]) for key in reversed(list(value))}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


def test_the_hash_is_independent_of_key_order_and_of_the_way_through_a_file(tmp_path: Path) -> None:
    config = parse(loss={"bce": 2, "dice": 1.0})
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(reversed_keys(config.model_dump(mode="json")), sort_keys=False))
    assert load_config(path) == config
    assert load_config(path).hash == config.hash


@pytest.mark.parametrize(
    "sections",
    [
        {"name": "other"},
        {"data": {"folder": "/elsewhere"}},
        {"data": {"splits_file": "/elsewhere/splits.jsonl"}},
        {"data": {"cache_folder": "/elsewhere", "cache": False}},
        {"training": {"workers": 4, "keep_every": 1, "checkpoint_seconds": 5}},
        {"tracking": {"experiment": "other"}},
        {"gate": {"mode": "off", "min_confidence": 0.95, "slices": ["coverage"]}},
        {"data": {"cache_size": 512}},
        {"loss": {"enlarge": 1}},
        {"training": {"stages": [{"size": 128, "epochs": 2}, {"size": 256, "epochs": 1, "restart": 0}]}},
    ],
)
def test_the_hash_leaves_out_where_how_fast_and_what_comes_after(sections: dict[str, Any]) -> None:
    assert parse(**sections).hash == parse().hash


@pytest.mark.parametrize(
    "sections",
    [
        {"seed": 4},
        {"data": {"cache_size": 256}},
        {"data": {"near_duplicate_bits": 0}},
        {"model": {"channels": [8, 16, 32, 64, 128]}},
        {"augmentation": {"horizontal_flip": 0.5}},
        {"augmentation": {"zoom": [0.9, 1.1]}},
        {"loss": {"dice": 2.0}},
        {"loss": {"enlarge": 2}},
        {"training": {"stages": [{"size": 128, "epochs": 2}, {"size": 256, "epochs": 1, "restart": 0.5}]}},
        {"optimiser": {"learning_rate": 0.001}},
        {"optimiser": {"name": "adam"}},
        {"schedule": {"warmup": 0.1}},
        {"training": {"stages": [{"size": 256, "epochs": 1}, {"size": 128, "epochs": 2}]}},
        {"training": {"batch_size": 4}},
        {"training": {"precision": "bfloat16"}},
        {"evaluation": {"threshold": 0.4}},
    ],
)
def test_the_hash_covers_every_decision(sections: dict[str, Any]) -> None:
    assert parse(**sections).hash != parse().hash


@pytest.mark.parametrize("section", [None, "data", "training", "augmentation"])
def test_a_config_is_frozen(section: str | None) -> None:
    target = getattr(parse(), section) if section else parse()
    field = next(iter(type(target).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(target, field, getattr(target, field))


def test_changed_copies() -> None:
    config = parse()
    changed = config.with_changes(data__folder="/elsewhere", training__batch_size=2, seed=9)
    assert (changed.data.folder, changed.training.batch_size, changed.seed) == (Path("/elsewhere"), 2, 9)
    assert config.seed == 3


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("trainin__batch_size", "did you mean 'training'"),
        ("training__batchsize", "did you mean 'batch_size'"),
        ("seed__value", "'seed' holds a value"),
    ],
)
def test_a_change_of_an_unknown_key(key: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse().with_changes(**{key: 1})


def test_stages() -> None:
    config = parse()
    assert config.training.epochs == 3
    assert [config.training.size_at(epoch) for epoch in (1, 2, 3, 4)] == [128, 128, 256, 256]
    assert config.input_size == 256
