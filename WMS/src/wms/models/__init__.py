"""The networks that a recipe may name: each is a file of this package, found by the file's name.

    model: {architecture: unet, channels: [16, 32, 64, 128, 256]}

`architecture` is a file's name, and `unet` where a recipe, a card or a checkpoint names none. A new network is a new
file with a subclass of `Architecture`: nothing else lists it. Importing this package and its files needs no torch.

Example:
    >>> from wms.models import parse_model
    >>> model = parse_model({"channels": [2, 3, 4, 5, 6]})
    >>> model.stride, model.parameters
    (16, 3267)
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping

from wms.models.spec import DEFAULT, Architecture

__all__ = ["DEFAULT", "Architecture", "architectures", "find_architecture", "model_of", "parse_model", "recognise"]


def architectures() -> tuple[str, ...]:
    """The names of all architectures, sorted: this package's files except the base class's."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in found if name != "spec"))


def find_architecture(name: str) -> type[Architecture]:
    """The class of an architecture. Raises ValueError with the nearest valid name for an unknown architecture."""
    known = architectures()
    if name not in known:  # before the import, because a downloaded card may hold any name
        close = difflib.get_close_matches(name, known, n=1)
        raise ValueError(
            f"there is no architecture {name!r}, "
            + (f"did you mean {close[0]!r}" if close else f"valid ones are {', '.join(known)}")
        )
    module = importlib.import_module(f"{__name__}.{name}")
    for value in vars(module).values():
        # A file may also import architectures; the first class defined in the file itself counts.
        if isinstance(value, type) and issubclass(value, Architecture) and value.__module__ == module.__name__:
            return value
    raise ValueError(f"{module.__file__} defines no subclass of Architecture")


def parse_model(values: object) -> Architecture:
    """The architecture of a recipe's section `model`, a mapping; an architecture is returned unchanged.

    Raises pydantic.ValidationError for settings that the architecture doesn't allow, ValueError for an unknown name.
    """
    if isinstance(values, Architecture):
        return values
    name = values.get("architecture", DEFAULT) if isinstance(values, Mapping) else DEFAULT
    return find_architecture(str(name)).model_validate(values)


def model_of(facts: Mapping[str, object]) -> Architecture:
    """The architecture that a model's card describes among other facts; raises the errors of `parse_model`."""
    fields = find_architecture(str(facts.get("architecture", DEFAULT))).model_fields
    return parse_model({key: facts[key] for key in fields if key in facts})


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> Architecture | None:
    """The architecture whose tensors have exactly these names and shapes; None if no architecture matches."""
    for name in architectures():
        model = find_architecture(name).recognise(shapes)
        if model is not None and model.shapes() == dict(shapes):
            return model
    return None
