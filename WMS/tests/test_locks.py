"""pyproject.toml, requirements.txt and the groups' locks agree, and every line of a lock has a hash; no network."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from wms.libraries import LOCKS, MEGABYTES, TOOLS, group_of, lock_of
from wms.paths import ROOT

WHOLE = ROOT / "requirements.txt"
GROUPS = sorted(MEGABYTES)
FILES = [WHOLE, ROOT / TOOLS, *(ROOT / lock_of(group) for group in GROUPS)]
COPYLEFT = re.compile(r"\b(A|L)?GPL", re.IGNORECASE)
CHOICE_OR_EXCEPTION = {
    "asyncssh": "EPL-2.0 OR GPL-2.0-or-later: DVC's client for SSH",
    "dulwich": "Apache-2.0 OR GPL-2.0-or-later: DVC's client for Git",
    "grandalf": "EPLv1 OR GPLv2: DVC draws graphs by it",
    "pi-heif-decoder": "BSD, and LGPLv3 for the libraries inside: optional, loaded only in a process of its own",
    "pygit2": "GPLv2 with an exception for linking: DVC's client for Git",
}
"""Packages of a user's environment whose licence names the GPL or LGPL beside another choice, or with an exception."""


@dataclass(frozen=True)
class Pin:
    """A line of a lock."""

    requirement: Requirement
    hashes: frozenset[str]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        (pin,) = self.requirement.specifier
        assert pin.operator == "==", self.requirement
        return pin.version

    def holds_here(self) -> bool:
        return self.requirement.marker is None or self.requirement.marker.evaluate()


@cache
def pins(path: Path) -> tuple[Pin, ...]:
    found = []
    for entry in re.sub(r"\s*\\\n\s*", " ", path.read_text(encoding="utf-8")).splitlines():
        if not entry.strip() or entry.lstrip().startswith("#"):
            continue
        text, *hashes = entry.split(" --hash=")
        found.append(Pin(Requirement(text), frozenset(hash.strip() for hash in hashes)))
    return tuple(found)


def here(path: Path) -> dict[str, Pin]:
    """The pins that hold for this interpreter and system."""
    found = [pin for pin in pins(path) if pin.holds_here()]
    assert len(found) == len({pin.name for pin in found}), "a package has two versions here"
    return {pin.name: pin for pin in found}


def project() -> dict[str, list[Requirement]]:
    """The direct dependencies of each group, and of `tools`."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = {"core": told["project"]["dependencies"], **told["project"]["optional-dependencies"]}
    groups["tools"] = told["dependency-groups"]["tools"]
    return {group: [Requirement(line) for line in lines] for group, lines in groups.items()}


def test_every_group_has_a_lock_and_every_lock_a_group() -> None:
    assert {"tools", *GROUPS} == set(project()) == {path.stem for path in (ROOT / LOCKS).glob("*")}


def test_each_direct_dependency_has_a_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r'^  "([\w.\[\]-]+)[^"]*",(.*)$', text[: text.index("[project.scripts]")], re.MULTILINE)
    assert len(named) == sum(map(len, project().values()))
    assert not [name for name, reason in named if not re.fullmatch(r" +# \w.{2,}", reason)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_line_is_pinned_and_has_a_hash_and_names_no_index(path: Path) -> None:
    assert len(pins(path)) >= 2
    for pin in pins(path):
        assert pin.version
        assert pin.hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in pin.hashes), pin.name
    assert not re.search(r"index-url|find-links|https?://", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES[1:], ids=lambda path: path.name)
def test_a_group_s_lock_agrees_with_the_lock_of_everything(path: Path) -> None:
    known = {(pin.name, pin.version, pin.hashes) for pin in pins(WHOLE)}
    assert {(pin.name, pin.version, pin.hashes) for pin in pins(path)} <= known, "run make lock"
    assert {name: pin.version for name, pin in here(path).items()}.items() <= {
        name: pin.version for name, pin in here(WHOLE).items()
    }.items()


def test_the_lock_of_everything_holds_nothing_else_and_each_group_holds_core() -> None:
    groups = [{pin.name for pin in pins(path)} for path in FILES[1:]]
    assert {pin.name for pin in pins(WHOLE)} == set().union(*groups)
    core = {pin.name for pin in pins(ROOT / lock_of("core"))}
    assert all(core <= {pin.name for pin in pins(ROOT / lock_of(group))} for group in GROUPS)


def reached(requirements: list[Requirement]) -> dict[str, Requirement]:
    """What requirements bring here, by the metadata of the installed packages."""
    found: dict[str, Requirement] = {}
    done: set[tuple[str, str]] = set()
    waiting = [(one, "") for one in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        found[name] = requirement
        for wanted in ("", *sorted(requirement.extras)):
            if (name, wanted) not in done:
                done.add((name, wanted))
                lines = importlib.metadata.requires(requirement.name) or []
                waiting += [(Requirement(line), wanted) for line in lines]
    return found


@pytest.mark.parametrize("group", ["tools", *GROUPS])
def test_a_lock_holds_what_the_group_s_dependencies_bring_and_nothing_else(group: str) -> None:
    direct = [*project()[group], *([] if group == "tools" else project()["core"])]
    lock = here(ROOT / LOCKS / f"{group}.txt")
    assert set(reached(direct)) == set(lock), "run make lock"
    for requirement in direct:
        pin = lock[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(Version(pin.version), prereleases=True), requirement


def test_users_get_no_tools_of_developers_and_no_licence_that_binds_them() -> None:
    users = {name: pin for group in GROUPS if group != "dev" for name, pin in here(ROOT / lock_of(group)).items()}
    assert not {"pytest", "moto", "mypy", "ruff", "hypothesis"} & set(users)
    assert not [pin.name for path in FILES for pin in pins(path) if pin.name.startswith("psycopg")]
    bound = {name for name in users if COPYLEFT.search(licence(name))}
    assert bound == set(CHOICE_OR_EXCEPTION)
    assert "torch" not in here(ROOT / lock_of("core")), "core is light"


def licence(name: str) -> str:
    told = importlib.metadata.metadata(name)
    classifiers = [one for one in told.get_all("Classifier") or [] if one.startswith("License")]
    # Some packages give the whole text, which names other licences, in the field for a name.
    return " ".join([told.get("License-Expression") or "", (told.get("License") or "")[:80], *classifiers])


def third_party(tree: ast.Module) -> Iterator[str]:
    """The modules that a module imports anywhere, but for the standard library's and this project's."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in ("wms", "wms_ops", "_typeshed"):
                yield top


def test_the_group_of_every_library_that_the_code_imports_is_known_and_right() -> None:
    providers = importlib.metadata.packages_distributions()
    for source in ("WMS/src", "devops/src"):
        for path in (ROOT / source).rglob("*.py"):
            user = ".".join(path.relative_to(ROOT / source).with_suffix("").parts)
            for module in third_party(ast.parse(path.read_text(encoding="utf-8"))):
                group = group_of(module, [user], ROOT)
                assert group in MEGABYTES and group != "dev", f"{user} imports {module}, which no group brings"
                assert {canonicalize_name(name) for name in providers[module]} & set(here(ROOT / lock_of(group)))


@pytest.mark.parametrize(
    ("module", "user", "group"),
    [
        ("numpy", "wms.metrics", "core"),
        ("yaml", "wms.config", "core"),
        ("torch", "wms.losses", "train"),
        ("onnx", "wms.inference.export", "train"),
        ("onnx", "wms.registry.lineage_links", "cloud"),
        ("mlflow", "wms.registry.mlflow_store", "cloud"),
        ("mlflow", "wms.training.runs_cli", "train"),
        ("fastapi.responses", "wms.serving.app", "serve"),
        ("uvicorn", "wms_ops.machine.mlflow_server", "serve"),
        ("sqlalchemy", "wms_ops.machine.mlflow_server", "cloud"),
        ("pytest", "", "dev"),
        ("nothing_of_that_name", "", None),
    ],
)
def test_the_group_fits_the_command(module: str, user: str, group: str | None) -> None:
    assert group_of(module, [user], ROOT) == group
