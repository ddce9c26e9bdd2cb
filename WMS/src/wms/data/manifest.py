"""The files of a version of the data set: DVC's directory manifests and the .dvc files that point to them.

A manifest is a JSON list of {"md5", "relpath"}; the manifest's MD5 followed by ".dir" is the name in the remote. Both
formats are DVC's (3.x), byte for byte, so that `dvc pull` reads them. Manifests can be compared and joined without the
files that they name.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Final

import yaml

from wms.errors import ManifestError
from wms.files import parse_json
from wms.json_text import to_json
from wms.names import is_git

_MD5 = re.compile(r"[0-9a-f]{32}")
_LEAVES_FOLDER = ("", ".", "..")


@dataclass(frozen=True)
class Manifest:
    """The files of a directory: relative path -> MD5 (32 hex digits). Equal content, equal `oid`."""

    files: Mapping[str, str]

    def __post_init__(self) -> None:
        for path, md5 in self.files.items():
            if not _MD5.fullmatch(md5):
                raise ManifestError(f"{md5!r} of {path!r} is not an MD5; the manifest is damaged.")
            parts = path.split("/")
            if any(part in _LEAVES_FOLDER for part in parts) or "\\" in path or "\0" in path:
                raise ManifestError(f"{path!r} leaves its folder; the manifest is damaged.")
            if any(is_git(part) for part in parts):
                raise ManifestError(f"{path!r} lies in Git's own folder; the manifest is damaged.")
        object.__setattr__(self, "files", MappingProxyType(dict(sorted(self.files.items()))))

    @cached_property
    def content(self) -> bytes:
        """The manifest as DVC stores it."""
        return to_json([{"md5": md5, "relpath": path} for path, md5 in self.files.items()]).encode()

    @cached_property
    def oid(self) -> str:
        """The manifest's name in the remote: the MD5 of `content` and ".dir"."""
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest() + ".dir"

    @classmethod
    def parse(cls, content: bytes, name: str = "the manifest") -> Manifest:
        """Read a manifest. Raises ManifestError if `content` isn't a manifest or names a file twice."""
        try:
            pairs = [(str(row["relpath"]), str(row["md5"])) for row in parse_json(content)]
        except (ValueError, TypeError, KeyError) as error:
            raise ManifestError(f"{name} is not a DVC manifest ({error!r}); restore it from the remote.") from error
        files = dict(pairs)
        if len(files) != len(pairs):
            raise ManifestError(f"{name} names a file twice; restore it from the remote.")
        found = cls(files)
        found.__dict__["content"] = content  # fills the cached property: `oid` hashes the stored bytes
        return found


EMPTY = Manifest({})
_LONGEST_POINTER: Final = 10_000  # characters; DVC writes some 100, and hostile YAML can take minutes to parse


def pointer_text(manifest: Manifest, size: int | None, path: str) -> str:
    """The .dvc file for a directory `path` (relative to the .dvc file); `size` is the bytes of all files, if known."""
    out: dict[str, Any] = {"md5": manifest.oid}
    if size is not None:
        out["size"] = size
    out |= {"nfiles": len(manifest.files), "hash": "md5", "path": path}
    return yaml.safe_dump({"outs": [out]}, sort_keys=False)


@dataclass(frozen=True)
class Pointer:
    """The content of a .dvc file: the manifest's name, bytes and number of all files, each if known."""

    oid: str
    size: int | None
    nfiles: int | None

    @classmethod
    def parse(cls, text: str, name: str, path: str | None = None) -> Pointer:
        """Read the .dvc file of a directory, which must lie beside the file and be named `path`, if that is given.

        Raises ManifestError, also if DVC would search the directory elsewhere or by another hash.
        """
        hint = "restore it from an older commit; in a merge that stopped, run `wms data resolve`"
        try:
            if len(text) > _LONGEST_POINTER:
                raise ValueError("too long")
            whole = yaml.safe_load(text)
            (out,) = whole["outs"]
            oid, size, count = str(out["md5"]), out.get("size"), out.get("nfiles")
        except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ManifestError(f"{name} is not a .dvc file with one output; {hint}.") from error
        if not oid.endswith(".dir") or not _MD5.fullmatch(oid.removesuffix(".dir")):
            raise ManifestError(f"{name}: {oid!r} doesn't name a directory's manifest; {hint}.")
        found, hashed = out.get("path"), out.get("hash", "md5")
        if path is not None and (found, hashed) != (path, "md5"):
            raise ManifestError(f"{name} stands for {found!r} by {hashed!r}, not for {path!r} by 'md5'; {hint}.")
        if path is not None and (out.get("remote") or whole.get("wdir", ".") != "."):
            raise ManifestError(f"{name} names a remote or a folder of its own, which is looked for nowhere; {hint}.")
        return cls(oid, size if isinstance(size, int) else None, count if isinstance(count, int) else None)


@dataclass(frozen=True)
class DataSet:
    """Photos and masks of a version: two manifests, and the bytes of all files if known."""

    images: Manifest = EMPTY
    masks: Manifest = EMPTY
    image_bytes: int | None = 0
    mask_bytes: int | None = 0

    def __iter__(self) -> Iterator[tuple[str, Manifest, int | None]]:
        """("images", manifest, bytes) and ("masks", manifest, bytes)."""
        yield "images", self.images, self.image_bytes
        yield "masks", self.masks, self.mask_bytes

    @cached_property
    def pairs(self) -> Mapping[str, tuple[str, str, str, str]]:
        """Stem -> (image path, image's MD5, mask path, mask's MD5).

        Raises ManifestError for a photo without a mask, a mask without a photo, or two files with the same stem.
        """
        images, masks = _by_stem(self.images, "photos"), _by_stem(self.masks, "masks")
        if lonely := sorted(images.keys() ^ masks.keys()):
            raise ManifestError(f"The data set holds {lonely[0]!r} without its partner; the manifests don't fit.")
        found = {
            key: (images[key], self.images.files[images[key]], masks[key], self.masks.files[masks[key]])
            for key in images
        }
        return MappingProxyType(found)

    @property
    def oids(self) -> frozenset[str]:
        """Names of all objects that the remote must hold for this version, including both manifests."""
        own = {manifest.oid for _, manifest, _ in self}
        return frozenset(own.union(*(manifest.files.values() for _, manifest, _ in self)))


def stem_of(path: str) -> str:
    """The name by which photo and mask belong together: no extension, Unicode's composed form."""
    return unicodedata.normalize("NFC", PurePosixPath(path).stem)


def _by_stem(manifest: Manifest, what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in manifest.files:
        stem = stem_of(path)
        if stem in found:
            raise ManifestError(f"Two {what} of the data set claim the name {stem!r}: {found[stem]} and {path}.")
        found[stem] = path
    return found
