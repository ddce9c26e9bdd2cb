"""RunConfig: every decision of a training run, frozen, typed and hashed.

A recipe is a YAML file in WMS/configs. Unknown keys are refused with the nearest valid name. The hash covers the
decisions (seed, data preparation, model, augmentation, optimisation) and leaves out where files lie and how fast they
are read, so that the same experiment has the same hash on every machine.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, Field, SerializeAsAny, ValidationError, field_validator, model_validator

from wms.config_gate import GateConfig
from wms.config_sections import (
    UNHASHED,
    AugmentationConfig,
    DataConfig,
    EvaluationConfig,
    LossConfig,
    OptimiserConfig,
    ResolutionStage,
    ScheduleConfig,
    Section,
    TrackingConfig,
    TrainingConfig,
)
from wms.errors import ConfigError, UsageError
from wms.files import sha256_text
from wms.models import DEFAULT, Architecture, find_architecture, parse_model
from wms.paths import RECIPE, from_root
from wms.regular import read_regular_text

__all__ = [
    "AugmentationConfig",
    "DataConfig",
    "EvaluationConfig",
    "GateConfig",
    "LossConfig",
    "OptimiserConfig",
    "ResolutionStage",
    "RunConfig",
    "ScheduleConfig",
    "Section",
    "TrackingConfig",
    "TrainingConfig",
    "load_config",
    "own_data_settings",
    "parse_config",
    "parse_recipe",
]


class RunConfig(Section):
    """The complete configuration of a training run."""

    name: str = Field(min_length=1, json_schema_extra=UNHASHED, description="The recipe's name.")
    seed: int = Field(default=0, ge=0, lt=2**32)
    data: DataConfig = DataConfig()
    model: SerializeAsAny[Architecture] = Field(default_factory=lambda: parse_model({}))
    augmentation: AugmentationConfig = AugmentationConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    training: TrainingConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = Field(default=TrackingConfig(), json_schema_extra=UNHASHED)
    gate: GateConfig = Field(default=GateConfig(), json_schema_extra=UNHASHED)

    @field_validator("model", mode="before")
    @classmethod
    def _choose_architecture(cls, values: Any) -> Any:
        return parse_model(values) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _check(self) -> Self:
        stride, stages = self.model.stride, self.training.stages
        for size in (stage.size for stage in stages if stage.size % stride):
            lower = max(size // stride, 1) * stride
            raise ValueError(f"size {size} isn't a multiple of {stride}; take {lower} or {lower + stride}")
        if self.training.batch_size < 2 and stages[0].size == stride:
            raise ValueError(f"batch_size 1 at {stride} pixels leaves batch normalisation a single value to average")
        if self.schedule.kind == "plateau" and self.schedule.warmup:
            raise ValueError("schedule.warmup belongs to kind cosine; remove it or change schedule.kind")
        if stages[0].restart:
            raise ValueError("the first stage begins the schedule, so it can't restart it; remove its restart")
        if self.schedule.kind == "plateau" and any(stage.restart for stage in stages):
            raise ValueError("a stage's restart belongs to kind cosine; remove it or change schedule.kind")
        if self.schedule.minimum > self.optimiser.learning_rate:
            raise ValueError("schedule.minimum is larger than optimiser.learning_rate")
        if self.training.attempts > 1 and self.training.evaluate_test:
            raise ValueError(
                "training.evaluate_test scores the test photos in each of several attempts, but only the chosen one "
                "may see them; remove it, or training.attempts"
            )
        if self.seed + self.training.attempts > 2**32:
            raise ValueError("seed is too large for so many attempts: each takes the next seed")
        largest = max(stage.size for stage in stages)
        if self.data.cache_size < largest:
            raise ValueError(f"data.cache_size {self.data.cache_size} is smaller than the largest stage, {largest}")
        return self

    @property
    def input_size(self) -> int:
        """Side in pixels at which the trained model is validated, exported and served: the last stage's."""
        return self.training.stages[-1].size

    def decisions(self) -> dict[str, Any]:
        """The part of the config that the hash covers, as plain JSON values."""
        return _without_unhashed(self)

    @property
    def hash(self) -> str:
        """Sha256 (64 hex digits) of the decisions; independent of key order, paths and the machine."""
        text = json.dumps(self.decisions(), sort_keys=True, separators=(",", ":"))  # noqa: TID251 - hashed, never written
        return sha256_text(text)

    def with_changes(self, **changes: Any) -> RunConfig:
        """A validated copy; keys are dotted with two underscores, as in data__folder=...

        Raises ConfigError as `load_config` does.
        """
        values = self.model_dump(mode="json")
        for key, value in changes.items():
            *path, last = key.split("__")
            target = values
            for part in path:
                below = target.setdefault(part, {})  # parse_config refuses an unknown name
                if not isinstance(below, dict):
                    raise ConfigError(
                        f"The changed config: {key.replace('__', '.')!r} isn't a key; {part!r} holds a value."
                    )
                target = below
            target[last] = value
        return parse_config(values, "the changed config")

    def with_data(self, folder: Path | None, splits_file: Path | None, **changes: Any) -> RunConfig:
        """A copy for another data set (the recipe's where None), with paths taken from the repository's root.

        `changes` are made as `with_changes` makes them. Raises UsageError for a folder without a split record.
        """
        if folder and not splits_file:
            raise UsageError("--data needs --splits FILE as well: each data set has its own record of splits.")
        return self.with_changes(
            data__folder=str(folder or from_root(self.data.folder)),
            data__splits_file=str(splits_file or from_root(self.data.splits_file)),
            data__cache_folder=str(from_root(self.data.cache_folder)),
            **changes,
        )


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice, of which PyYAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_config(path: Path) -> RunConfig:
    """Read a recipe.

    Raises ConfigError (file, field, reason, nearest valid name) if the file is absent, not YAML or not valid.
    """
    try:
        text = read_regular_text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8 text"
        raise ConfigError(f"Can't read the config {path}: {reason}; name one with --config.") from error
    return parse_recipe(text, str(path))


def own_data_settings() -> DataConfig:
    """The data settings of this repository's own recipe; the defaults where there is none. Raises ConfigError."""
    return load_config(RECIPE).data if RECIPE.exists() else DataConfig()


def parse_recipe(text: str, source: str) -> RunConfig:
    """Read a recipe's YAML; `source` names the recipe in errors. Raises ConfigError as `load_config` does."""
    try:
        values = yaml.load(text, _UniqueKeyLoader)  # noqa: S506 # nosec B506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it can't be parsed"
        raise ConfigError(f"{source}{where} isn't valid YAML: {problem}.") from error
    return parse_config(values, source)


def parse_config(values: object, source: str, *, stored: bool = False) -> RunConfig:
    """Build a RunConfig from plain values; `source` names them in errors. Raises ConfigError.

    Values that are `stored` were written by a version of this code, with all keys that the version knew.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{source}: a config is a mapping of keys to values, not {type(values).__name__}.")
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        if stored and (key := _later_key(error, values)):
            raise ConfigError(
                f"{source} was written by a newer version: this one doesn't know the key {key!r}; update this clone."
            ) from error
        raise ConfigError(f"{source}: " + "; ".join(_sentences(error, values)) + ".") from error


def _later_key(error: ValidationError, values: Mapping[str, Any]) -> str:
    """An unknown key that isn't a misspelt one: no key that is missing beside it has a name like it; else empty."""
    for problem in error.errors():
        *above, last = location = [part for part in problem["loc"] if isinstance(part, str | int)]
        if problem["type"] == "extra_forbidden":
            beside: Any = values
            for part in above:
                beside = beside[part]
            if not _nearest(str(last), [name for name in _fields_at(above, values) if name not in beside]):
                return ".".join(map(str, location))
    return ""


def _nearest(name: str, known: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)), "")


def _sentences(error: ValidationError, values: Mapping[str, Any]) -> Iterator[str]:
    for problem in error.errors():
        location = [part for part in problem["loc"] if isinstance(part, str | int)]
        field = ".".join(map(str, location))
        if problem["type"] == "extra_forbidden":
            known = _fields_at(location[:-1], values)
            close = _nearest(str(location[-1]), known)
            hint = f"did you mean {close!r}" if close else "valid keys are " + ", ".join(sorted(known))
            yield f"unknown key {field!r}, {hint}"
        elif problem["type"] == "missing":
            yield f"key {field!r} is missing"
        else:
            reason = problem["msg"].removeprefix("Value error, ")
            given = problem["input"]
            shown = f", not {given!r}" if isinstance(given, str | int | float | bool) else ""
            yield f"{field or 'config'}: {reason[:1].lower()}{reason[1:]}{shown}"


def _fields_at(location: list[str | int], values: Mapping[str, Any]) -> list[str]:
    """Names that are valid inside the section at `location` of the config that `values` are."""
    if location == ["model"]:  # the valid names depend on the architecture that the recipe names
        return list(find_architecture(values["model"].get("architecture", DEFAULT)).model_fields)
    section: type[BaseModel] = RunConfig
    for part in location:
        if isinstance(part, int):
            continue
        annotation = section.model_fields[part].annotation
        candidates = (annotation, *get_args(annotation))
        section = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(section.model_fields)


def _without_unhashed(section: BaseModel) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        extra = field.json_schema_extra
        rule = extra.get("hash") if isinstance(extra, Mapping) else None
        if rule is False or (rule == "changed" and getattr(section, name) == field.default):
            continue
        kept[name] = _plain(getattr(section, name))
    return kept


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _without_unhashed(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError("A config can't hold NaN or infinite numbers.")
    return value
