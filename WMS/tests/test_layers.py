"""The modules of this project form no circle of imports, and none of its functions changes the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
ALLOWED = {
    "wms.quiet": "ONNX Runtime reads whether it may report its use from the environment only",
    "wms.registry.mlflow_variables": "MLflow's client takes its patience and its proxies from the environment only",
    "wms.training.distributed": "gloo takes the name of its interface from the environment only",
}
"""The modules that change this process's environment, and why there is no other way."""

READING = {
    **ALLOWED,
    "wms.git": "git gets all variables but those that would lead it to another repository",
    "wms.pipes": "each command's first lines ask whether GitHub reads them, before pydantic is loaded",
    "wms.project": "the pre-push hook reads the names without pydantic, which wms.settings needs",
    "wms.install.environment": "pip and uv get all variables",
    "wms.install.main": "it runs before pydantic is there, and reads the one variable of InstallSettings",
    "wms.settings": "here each variable has its type",
    "wms_ops.commands.checks": "Terraform gets all variables",
    "wms_ops.commands.checks_work": "the cloud's settings read them, as at a start",
    "wms_ops.demo.folder": "the demo's commands get all variables but those of git, MLflow and this project",
    "wms_ops.loop.contexts": "a step's commands get all variables, and those of the cloud",
    "wms_ops.machine.environment": "a server gets all variables but those of other clouds",
    "wms_ops.pulls.gh": "gh gets all variables",
    "wms_ops.storage.client": "the AWS SDK's own rule makes a variable's name from that of the service",
    "wms_ops.storage.remote": "the AWS SDK's search for credentials gets all variables",
    "wms_ops.targets.aws.cloud": "Terraform and the loop's commands get all variables",
    "wms_ops.targets.aws.context": "Terraform gets all variables",
    "wms_ops.targets.aws.terraform": "Terraform gets all variables; a child process checks its parent by one",
    "wms_ops.targets.host.mlflow": "MLflow's server gets all of AWS's variables",
}
"""The modules that read this process's environment by another way than typed settings, and why."""

CHANGING = {"update", "pop", "clear", "setdefault", "popitem"}
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


def changes_of_environ(tree: ast.Module) -> list[int]:
    """The lines that change the environment of the process: by a key, as a whole, or by a method."""
    lines = []
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=value, ctx=ast.Store() | ast.Del()) if is_environ(value):
                lines.append(node.lineno)
            case ast.AugAssign(target=target) if is_environ(target):
                lines.append(node.lineno)
            case ast.Assign(targets=targets) if any(map(is_environ, targets)):
                lines.append(node.lineno)
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if is_environ(value) and name in CHANGING:
                lines.append(node.lineno)
            case ast.Call(func=ast.Attribute(attr="putenv" | "unsetenv")):
                lines.append(node.lineno)
            case _:
                pass
    return lines


def is_environ(node: ast.expr) -> bool:
    """Whether an expression is os.environ."""
    return isinstance(node, ast.Attribute) and node.attr == "environ" and ast.unparse(node.value) == "os"


def test_no_function_changes_the_environment() -> None:
    found = {name: lines for name, tree in modules().items() if (lines := changes_of_environ(tree))}
    assert set(found) == set(ALLOWED), f"hand variables over instead: {found}"
    by_name = [name for name, tree in modules().items() if "environ" in names_from_os(tree)]
    assert by_name == [], "a bare `environ` is hard to look for"


def reads_of_environ(tree: ast.Module) -> list[int]:
    """The lines that name the environment of the process or read one of its variables."""
    named = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return [node.lineno for node in named if is_environ(node) or ast.unparse(node) in ("os.getenv", "os.environb")]


def test_variables_are_read_by_typed_settings_only() -> None:
    found = {name: lines for name, tree in modules().items() if (lines := reads_of_environ(tree))}
    inside = {name for name, tree in modules().items() if "os.environ" in ast.unparse(tree)}  # also in a child's code
    assert set(found) | inside == set(READING), f"declare the variable in settings.py, and read its group: {found}"
    assert not any(names_from_os(tree) & {"environ", "getenv", "environb"} for tree in modules().values())


@pytest.mark.parametrize("line", ["os.environ['A']", "os.environ.get('A')", "os.getenv('A')", "{**os.environ}"])
def test_every_way_to_read_the_environment_is_found(line: str) -> None:
    assert reads_of_environ(ast.parse(f"def f():\n    return {line}\n")) == [2]
    assert reads_of_environ(ast.parse("def f(environ):\n    return environ.get('A') or environ['A']\n")) == []


def names_from_os(tree: ast.Module) -> set[str]:
    """What a module imports from os by name."""
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "os"]
    return {alias.name for node in froms for alias in node.names}


@pytest.mark.parametrize(
    "line",
    [
        *("os.environ['A'] = 'b'", "del os.environ['A']", "os.environ |= {}", "os.environ = {}", "os.putenv('A', 'b')"),
        *(f"os.environ.{name}()" for name in sorted(CHANGING)),
    ],
)
def test_every_way_to_change_the_environment_is_found(line: str) -> None:
    assert changes_of_environ(ast.parse(f"def f():\n    {line}\n")) == [2]
    assert (
        changes_of_environ(ast.parse("kept = {**os.environ}\nkept['A'] = os.environ.get('A') or os.environ['B']")) == []
    )
