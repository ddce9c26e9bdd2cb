"""The names that one team's project has: read from wms.toml in the repository's root, which `wms init` writes.

A repository without that file has the names of `Project`'s defaults, as every repository had before the file existed.
Only the standard library is imported here: the pre-push hook reads the names before each push.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from wms.errors import ConfigError
from wms.json_text import to_json
from wms.paths import ROOT
from wms.regular import read_regular

FILE: Final = "wms.toml"
REGION: Final = "eu-central-1"
"""The region that `wms init` chooses unless a user chooses another."""

FORMER_REGION: Final = "us-east-1"
"""The region of every instance before wms.toml could name one."""

_BRANCH: Final = re.compile(r"[A-Za-z0-9_][\w-]*([./][\w-]+)*")
_REGION: Final = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_BUCKET: Final = re.compile(r"[a-z0-9]([a-z0-9-]|\.(?!\.))*[a-z0-9]")
_ADDRESS: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")
_KEPT_AT_S3: Final = ("xn--", "sthree-", "amzn-s3-demo-"), ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


@dataclass(frozen=True)
class Project:
    """The names. An empty `region` or `bucket` isn't chosen yet; `bucket` is an address such as s3://acme/dvc.

    `allowed_images` are patterns of paths, written by hand: pictures that may lie in Git, where `*` and `**` stand for
    any text. A photo or mask anywhere else is refused by the pre-push hook.
    """

    project: str = "water-meter-segmentation"
    model: str = "water-meter-segmentation"
    experiment: str = "water-meter-segmentation"
    main_branch: str = "main"
    remote: str = "origin"
    region: str = ""
    bucket: str = ""
    keep_metadata: bool = False
    """Whether photos are stored with places, serial numbers and names: see `wms.data.private`."""
    publish_photos: bool = False
    """Whether releases, the bucket and the service show test photos, in the model card: see docs/promotion.md."""
    allowed_images: tuple[str, ...] = ("docs/images/**", ".github/**", "WMS/tests/**")


SWITCHES: Final[Mapping[str, str]] = {
    "keep_metadata": "store photos with GPS, serial numbers and names",
    "publish_photos": "show the worst test photos in published model cards",
}
"""The meaning of each switch: true or false, written into wms.toml by hand."""

MEANINGS: Final[Mapping[str, str]] = {
    "project": "name of this project; marks its data in the bucket",
    "model": "name of the registered model in MLflow",
    "experiment": "name of the experiment in MLflow",
    "main_branch": "the branch into which data branches are merged",
    "remote": "name of the Git remote that has this branch",
    "region": "region at AWS",
    "bucket": "bucket and prefix of photos and masks, as in .dvc/config",
}
"""What each name means, in the order of wms.toml."""

_LIST: Final = "allowed_images"


@cache
def project() -> Project:
    """The names of this repository. Raises ConfigError.

    >>> project().remote
    'origin'
    """
    return read_project(Path(os.environ.get("WMS_PROJECT") or ROOT / FILE))


def read_project(path: Path) -> Project:
    """The names in a wms.toml, the defaults without that file. Raises ConfigError, which names file, line and field."""
    try:
        text = read_regular(path).decode("utf-8-sig")  # Windows' editors write a mark before the text
    except FileNotFoundError:
        return Project()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} can't be read ({error}); restore it from Git, or delete it, then run `wms init`."
        ) from error
    return parse_project(text, str(path))


def parse_project(text: str, origin: str) -> Project:
    """The names in the text of a wms.toml; `origin` names the file in errors. Raises ConfigError.

    >>> parse_project('main_branch = "master"', "wms.toml").main_branch
    'master'
    """
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f'{origin} isn\'t TOML: {error}; write lines such as `remote = "origin"`.') from None
    for name, value in values.items():
        where = f"{origin}, line {_line(text, name)}"
        if name == _LIST:
            if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
                raise ConfigError(f'{where}: {name} needs a list of paths, such as ["docs/images/**"].')
            values[name] = tuple(value)
            continue
        known = (*MEANINGS, *SWITCHES, _LIST)
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"the names are {', '.join(known)}."
            raise ConfigError(f"{where}: there is no setting {name!r}; {hint}")
        if name in SWITCHES:
            if not isinstance(value, bool):
                raise ConfigError(f"{where}: {name} is {value!r}; write {name} = true or {name} = false.")
            continue
        if not isinstance(value, str):
            raise ConfigError(f'{where}: {name} is {value!r}, but a text in quotes is needed, such as {name} = "...".')
        if reason := why_refused(name, value):
            raise ConfigError(f"{where}: {name} is {value!r}, {reason}.")
    return Project(**values)


def why_refused(name: str, value: str) -> str:
    """The reason why a name can't have this value, to follow "NAME is VALUE, "; empty if it can.

    >>> why_refused("remote", "up stream")
    'but a remote\\'s name has letters, digits, "-", "_" and "." only'
    """
    return _RULES[name](value)


def project_text(names: Project) -> str:
    """The text of wms.toml with these names; names that aren't chosen yet are left out."""
    chosen = ((name, getattr(names, name)) for name in MEANINGS)
    lines = [f'{name} = "{value}"  # {MEANINGS[name]}' for name, value in chosen if value]
    lines += [f"{name} = true  # {text}" for name, text in SWITCHES.items() if getattr(names, name)]
    head = "# The names of this project, for everybody: keep this file in Git. `wms init` writes it."
    if names.allowed_images != Project().allowed_images:
        lines.append(f"{_LIST} = {to_json(names.allowed_images, ensure_ascii=False)}")
    return "\n".join([head, *lines, ""])


def _project(value: str) -> str:
    return "" if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", value) else 'but it has 1 to 63 of a-z, 0-9 and "-" only'


def _mlflow(value: str) -> str:
    if re.fullmatch(r"\w[\w .-]{0,198}", value) and value == value.strip() and ".." not in value:
        return ""
    return 'which MLflow refuses or can\'t find again: use up to 199 letters, digits, spaces, "-", "_" and "."'


def _branch(value: str) -> str:
    if value == "data" or value.startswith("data/"):
        return "but data/ is for data branches"
    kept = value in ("HEAD", "pull-requests") or ".lock" in value
    if kept or not _BRANCH.fullmatch(value):
        return "which can't be a main branch; use a name such as main or master"
    return ""


def _remote(value: str) -> str:
    good = re.fullmatch(r"[A-Za-z0-9_][\w.-]*", value, re.ASCII) and not value.endswith((".", ".lock"))
    return "" if good and ".." not in value else 'but a remote\'s name has letters, digits, "-", "_" and "." only'


def _region(value: str) -> str:
    return "" if not value or _REGION.fullmatch(value) else f"which is no region of AWS; {REGION} is one"


def _bucket(value: str) -> str:
    if not value:
        return ""
    scheme, _, rest = value.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        return "but an address such as s3://BUCKET/dvc is needed"
    starts, ends = _KEPT_AT_S3
    if (
        not 3 <= len(bucket) <= 63
        or not _BUCKET.fullmatch(bucket)
        or _ADDRESS.fullmatch(bucket)
        or bucket.startswith(starts)
        or bucket.endswith(ends)
    ):
        return 'which S3 refuses: a bucket has 3 to 63 of a-z, 0-9, "-" and "."'
    if not re.fullmatch(r"[A-Za-z0-9!_.*'()/-]*", prefix):
        return "but the part after the bucket has letters, digits and -_./ only"
    return ""


_RULES: Final[Mapping[str, Callable[[str], str]]] = {
    "project": _project,
    "model": _mlflow,
    "experiment": _mlflow,
    "main_branch": _branch,
    "remote": _remote,
    "region": _region,
    "bucket": _bucket,
}


def _line(text: str, name: str) -> int:
    found = re.search(rf'^[ \t]*\[?["\']?{re.escape(name)}\b', text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1
