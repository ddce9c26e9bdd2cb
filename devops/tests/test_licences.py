"""Each locked package's licence: permissive ones pass, others are named in docs/licences.md, unknown ones fail."""

from __future__ import annotations

import importlib.metadata
import re
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FREE = "0BSD CC0-1.0 MIT-0 Unlicense"
NOTICE = "Apache-2.0 BSD-2-Clause BSD-3-Clause CNRI-Python ISC MIT MIT-CMU PSF-2.0 Python-2.0 ZPL-2.1 Zlib"
OWN_FILES = "MPL-2.0"
PERMISSIVE = frozenset(f"{FREE} {NOTICE} {OWN_FILES}".split())
"""SPDX names: no duty, a notice that stays, and duties that end with the package's own files."""

AS_SPDX = {
    "2-clause BSD License": "BSD-2-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Zope Public License": "ZPL-2.1",
}
"""Names that older packages use, in classifiers or in words."""

BY_FILE = {"huey": "MIT", "skops": "MIT"}
"""Packages that tell their licence only by the text of its file, as read by a person."""

NAMED = {
    "asyncssh": "EPL-2.0 OR GPL-2.0-or-later",
    "grandalf": "GNU General Public License v2 (GPLv2)",
    "pygit2": "GPLv2 with linking exception",
    "pi-heif-decoder": "GNU Lesser General Public License v3 (LGPLv3)",
    "cuda-toolkit": "unknown",
}
"""What docs/licences.md explains: a package, and the licence that it was explained with."""

NVIDIA = re.compile(r"nvidia-[a-z0-9-]+|cuda-[a-z-]+")


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def licence_of(found: Distribution) -> str:
    """What the package says of itself: its SPDX expression, else its classifiers, else its words."""
    about = found.metadata
    if expression := about.get("License-Expression"):
        return str(expression)
    kinds = [kind.split(" :: ")[-1] for kind in about.get_all("Classifier") or [] if kind.startswith("License ::")]
    named = [kind for kind in kinds if kind not in ("OSI Approved", "DFSG approved")]
    words = (about.get("License") or "").strip().split("\n")[0]
    return " OR ".join(named) or words or BY_FILE.get(plain(about["Name"]), "unknown")


def is_permissive(licence: str) -> bool:
    """Whether all parts of an expression are, or one of each choice."""
    text = licence
    for words, spdx in sorted(AS_SPDX.items(), key=lambda item: -len(item[0])):
        text = re.sub(rf"(?<![\w-]){re.escape(words)}(?![\w-])", spdx, text)
    choices = [part.strip(" ()") for part in re.split(r"\bAND\b", text)]
    return all(any(one.strip(" ()") in PERMISSIVE for one in re.split(r"\bOR\b", choice)) for choice in choices)


def refusal(found: Distribution) -> str:
    """The sentence for a package that this project can't take as it is; "" for one that it can."""
    name, licence = plain(found.metadata["Name"]), licence_of(found)
    if is_permissive(licence) or NAMED.get(name) == licence:
        return ""
    if NVIDIA.fullmatch(name) and ("NVIDIA" in licence or licence == "Other/Proprietary License"):
        return ""
    return (
        f"{name} is under the licence {licence!r}, which is neither permissive nor named in docs/licences.md: choose "
        "another package, or explain there what the licence asks of whom."
    )


def locked() -> dict[str, set[str]]:
    """Each group's packages."""
    locks = sorted((ROOT / "infrastructure" / "requirements").glob("*.txt"))
    found = {lock.stem: re.findall(r"^([\w.-]+)==", lock.read_text(encoding="utf-8"), re.MULTILINE) for lock in locks}
    return {group: {plain(name) for name in names} for group, names in found.items()}


def test_every_locked_package_has_a_licence_that_this_project_can_take() -> None:
    wanted = set[str]().union(*locked().values())
    here = {plain(one.metadata["Name"]): one for one in importlib.metadata.distributions()}
    looked_at = wanted & here.keys()
    assert len(looked_at) > 0.95 * len(wanted), "the environment isn't that of the locks: run `make install FOR=all`"
    assert [told for name in sorted(looked_at) if (told := refusal(here[name]))] == []


@pytest.mark.parametrize(
    ("about", "licence"),
    [
        ("License-Expression: GPL-3.0-only", "GPL-3.0-only"),
        ("License-Expression: MIT AND AGPL-3.0-or-later", "MIT AND AGPL-3.0-or-later"),
        ("Classifier: License :: OSI Approved :: GNU Affero General Public License v3", "GNU Affero General Public"),
        ("License: Ask the author", "Ask the author"),
        ("Summary: MIT", "unknown"),
    ],
)
def test_a_new_dependency_that_binds_or_says_nothing_is_refused(about: str, licence: str, tmp_path: Path) -> None:
    (tmp_path / "METADATA").write_text(f"Metadata-Version: 2.4\nName: New.Package\nVersion: 1\n{about}\n")
    told = refusal(PathDistribution(tmp_path))
    assert told.startswith(f"new-package is under the licence '{licence}")
    assert "docs/licences.md" in told


@pytest.mark.parametrize("licence", ["Apache-2.0 OR GPL-2.0-or-later", "(MIT OR GPL-2.0-only) AND BSD-3-Clause"])
def test_a_choice_is_taken_as_its_permissive_half(licence: str) -> None:
    assert is_permissive(licence)


def test_the_documents_name_each_exception_with_its_groups() -> None:
    text = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([\w, *-]+) \| [^|]+ \| ([^|]+) \|", text, re.MULTILINE))
    told = {name.strip(): groups for names, groups in rows.items() for name in names.split(",")}
    groups = locked()
    users = {name: {group for group, names in groups.items() if name in names} - {"tools"} for name in NAMED}
    for name, used_by in users.items():
        assert name in told, name
        said = set(groups) - {"tools"} if told[name].startswith("all") else {told[name].split(",")[0].strip()}
        assert said == used_by, name
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").split("\n")[1].strip() == "Apache License"
