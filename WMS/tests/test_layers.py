"""The modules of this project form no circle of imports, and none of its functions changes the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
SOURCES = (HOUSE / "WMS/src", HOUSE / "devops/src")


def modules() -> dict[str, ast.Module]:
    """The modules of wms and wms_ops by name; a package's own module has the package's name."""
    found = {}
    for source in SOURCES:
        for path in (*source.rglob("wms/**/*.py"), *source.rglob("wms_ops/**/*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports_of(name: str, tree: ast.Module, known: dict[str, ast.Module]) -> Iterator[str]:
    """The project's modules that a module imports anywhere: at its top, in a function, for type checkers only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports by a relative name, which this test doesn't follow"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            candidates = [one if one in known else str(node.module) for one in inner]
        else:
            continue
        yield from (one for one in candidates if one in known and one != name)


def test_no_modules_import_each_other_in_a_circle() -> None:
    known = modules()
    assert {"wms.errors", "wms_ops.base.errors", "wms_ops.targets.aws.launch"} <= set(known)
    graph = {name: set(imports_of(name, tree, known)) for name, tree in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"These modules import each other in a circle: {' <- '.join(error.args[1])}")


def test_an_import_inside_a_function_counts() -> None:
    known = {"wms.a": ast.parse("def f():\n    from wms import b\n"), "wms.b": ast.parse("import wms.a\n")}
    graph = {name: set(imports_of(name, tree, known)) for name, tree in known.items()}
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()
