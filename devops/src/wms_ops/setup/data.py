"""Adopts a data set that DVC made: its photos stay where they are, and this project's pointers lead to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from wms.data.kinds import SUFFIXES
from wms.data.manifest import DataSet, Manifest, Pointer, pointer_text, stem_of
from wms.errors import DataNotFoundError, ManifestError, PairingError, UsageError
from wms.regular import read_regular
from wms_ops.base.layout import KINDS, pointer
from wms_ops.dataset.publish import verify
from wms_ops.setup.files import Change, read_text
from wms_ops.storage.remote import S3Remote

_SHOWN: Final = 20
_AGAIN: Final = "then run this again"


@dataclass(frozen=True)
class Adoption:
    """A data set to adopt: its version, the pointers to write, the new manifests, and the number of files left out."""

    version: DataSet
    pointers: tuple[Change, ...]
    manifests: Mapping[str, bytes]
    left_out: int = 0


def plan_adoption(root: Path, files: Sequence[Path], folders: tuple[str, str], store: S3Remote) -> Adoption:
    """Plan the adoption of two .dvc files (photos, masks), or of one whose directory has both of `folders`.

    Nothing is written. Raises ManifestError for a .dvc file of another layout, PairingError for photos and masks
    without a partner, MissingBlobError for files that the store lacks, UsageError if another data set is there.
    """
    if len(files) > len(KINDS):
        raise UsageError(f"--data takes one .dvc file, or one of photos and one of masks, but got {len(files)}.")
    found = [_read_pointer(path) for path in files]
    whole = [Manifest.parse(store.read_manifest(one.oid), str(path)) for one, path in zip(found, files, strict=True)]
    left_out = 0
    if len(files) == 1:
        halves = [_below(whole[0], folder, files[0]) for folder in folders]
        left_out = len(whole[0].files) - sum(len(half.files) for half in halves)
        version = DataSet(halves[0], halves[1], None, None)
    else:
        version = DataSet(whole[0], whole[1], found[0].size, found[1].size)
    _check(version)
    made = {half.oid: half.content for half in (version.images, version.masks)} if len(files) == 1 else {}
    verify(store, version, unsent=frozenset(made))
    return Adoption(version, tuple(_pointers(root, version)), made, left_out)


def _read_pointer(path: Path) -> Pointer:
    try:
        text = read_regular(path).decode("utf-8", "replace")
    except (FileNotFoundError, IsADirectoryError):
        hint = f"; did you mean {path}.dvc?" if path.with_name(f"{path.name}.dvc").is_file() else ""
        raise DataNotFoundError(f"There is no .dvc file {path}{hint}; `git ls-files '*.dvc'` lists them.") from None
    except OSError as error:
        raise DataNotFoundError(f"Can't read {path}: {error.strerror}; restore it from Git.") from error
    if layout := _other_layout(text):
        raise ManifestError(f"{path} can't be adopted: {layout}; {_AGAIN}.")
    return Pointer.parse(text, str(path))


def _other_layout(text: str) -> str:
    """Return the reason why a .dvc file's directory can't be adopted, with DVC's remedy; "" without a reason."""
    try:
        whole = yaml.safe_load(text[:10_000])
        (out,) = whole["outs"]
        found: dict[str, Any] = dict(out)
    except (yaml.YAMLError, ValueError, TypeError, KeyError, RecursionError):
        return ""  # what it is instead, `Pointer.parse` says
    add = f"run `dvc add {found.get('path', 'FOLDER')}` and `dvc push`"
    elsewhere = found.get("remote") or whole.get("wdir", ".") != "."
    reasons = (
        (whole.get("deps"), f"its files belong to another repository or address; {add}"),
        (
            found.keys() & {"files", "version_id", "etag"},
            f"the store's own versions name its files; `dvc remote modify --unset REMOTE version_aware`, then {add}",
        ),
        (elsewhere, f"it names a remote or a folder of its own; take that line out, then {add}"),
        (
            found.get("hash") != "md5",
            "it was written by DVC 2; run `dvc cache migrate --dvc-files` and `dvc push` with DVC 3",
        ),
        (
            not str(found.get("md5", "")).endswith(".dir"),
            "it stands for a single file; run `dvc add` for its directory, and `dvc push`",
        ),
    )
    return next((reason for applies, reason in reasons if applies), "")


def _below(manifest: Manifest, folder: str, path: Path) -> Manifest:
    start = f"{folder.strip('/')}/"
    files = {name.removeprefix(start): md5 for name, md5 in manifest.files.items() if name.startswith(start)}
    if not files:
        there = sorted({name.partition("/")[0] for name in manifest.files if "/" in name})
        if not there:
            raise UsageError(f"The directory of {path} has no folders; name two .dvc files, of photos and of masks.")
        hint = f"it has {', '.join(there[:_SHOWN])}"
        raise UsageError(f"The directory of {path} has no {start}, but {hint}; name its two with --images and --masks.")
    return Manifest(files)


def _check(version: DataSet) -> None:
    """Raise ManifestError for files that are no photos of a flat folder, PairingError for those without a partner."""
    stems: dict[str, dict[str, str]] = {}
    odd = []
    for kind, manifest, _ in version:
        stems[kind] = {stem_of(name): f"{kind}/{name}" for name in manifest.files}
        for name in manifest.files:
            if "/" in name or name.startswith(".") or PurePosixPath(name).suffix.lower() not in SUFFIXES:
                odd.append(f"{kind}/{name}")
    if odd:
        count = _files(odd, "isn't a photo or mask", "aren't photos or masks")
        raise ManifestError(
            f"{count} right in the folder of its kind, so nothing was adopted:{_listed(odd)}\n"
            f"Move or delete them, run `dvc add` and `dvc push`, {_AGAIN}."
        )
    images, masks = (stems[kind] for kind in KINDS)
    lonely = [
        stems[kind][stem] for kind in KINDS for stem in sorted(images.keys() ^ masks.keys()) if stem in stems[kind]
    ]
    if lonely:
        raise PairingError(
            f"{_files(lonely, 'has', 'have')} no partner of the same name, so nothing was adopted:{_listed(lonely)}\n"
            f"Add or delete them, run `dvc add` and `dvc push`, {_AGAIN}."
        )
    if not version.pairs:  # also refuses two files of one name
        raise DataNotFoundError("The data set has no photo, so there is nothing to adopt; leave --data out.")


def _files(names: Sequence[str], one: str, several: str) -> str:
    return f"1 file {one}" if len(names) == 1 else f"{len(names)} files {several}"


def _listed(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return "".join(f"\n  {name}" for name in [*names[:_SHOWN], *more])


def _pointers(root: Path, version: DataSet) -> list[Change]:
    """Return the pointers that aren't there yet. Raises UsageError if one of them leads to another data set."""
    wanted = []
    for kind, manifest, size in version:
        path = pointer(kind)
        if text := read_text(root / path):
            if Pointer.parse(text, path, kind).oid != manifest.oid:
                raise UsageError(
                    f"{path} leads to another data set already, and --data only begins one; add photos with a push, or "
                    "work in a clone without these pointers."
                )
        else:
            wanted.append(Change(path, pointer_text(manifest, size, kind), f"the {len(manifest.files)} {kind}"))
    return wanted
