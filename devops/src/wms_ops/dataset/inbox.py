"""New photos and masks, taken out of a commit; the work tree is neither read nor written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wms.data.kinds import LFS_ADVICE, LFS_POINTER, SUFFIXES, advice
from wms.data.manifest import stem_of
from wms.errors import DataQualityError, PairingError, from_os_error
from wms_ops.base.layout import KINDS, inbox
from wms_ops.dataset.plan import NewFile, NewPair
from wms_ops.dataset.stored import md5_of, stored
from wms_ops.git.command import Git

_SYMLINK, _SUBMODULE = "120000", "160000"


@dataclass(frozen=True, slots=True)
class InboxFile:
    """A file of a commit's inbox: "images" or "masks", its name in that folder, and its Git object."""

    kind: str
    name: str
    blob: str


def inbox_files(git: Git, commit: str) -> tuple[InboxFile, ...]:
    """Return the inbox of a commit, sorted. Raises DataQualityError for a file that can't be a photo or a mask."""
    found = []
    for kind in KINDS:
        folder = inbox(kind)
        for mode, blob, path in git.files(commit, folder):
            name = path.removeprefix(f"{folder}/")
            if name == ".gitkeep":
                continue
            refuse_unfit(mode, name, path)
            found.append(InboxFile(kind, name, blob))
    return tuple(found)


def refuse_unfit(mode: str, name: str, path: str) -> None:
    """Raise DataQualityError for a file of Git's `mode` that can't be a photo or a mask."""
    if reason := _unfit(mode, name):
        raise DataQualityError(f"{path!r} {reason}, commit, and push again; nothing was changed.")


def _unfit(mode: str, name: str) -> str | None:
    if mode == _SYMLINK:
        return "is a symbolic link. Copy the file itself there"
    if mode == _SUBMODULE:
        return "is a submodule. Remove it"
    if "/" in name or "\\" in name:  # "\" separates folders on Windows
        return "lies in a folder of its own. Move it up into images/ or masks/"
    if PurePosixPath(name).suffix.lower() not in SUFFIXES or name.startswith("."):
        if (told := advice(name)) is not None:
            return f"isn't read: it is {told.replace('; ', '. ', 1)}. Replace it"
        return f"isn't named like an image ({', '.join(sorted(SUFFIXES))}). Rename or remove it"
    return None


def export(
    git: Git, files: Sequence[InboxFile], folder: Path, known: Collection[str] = ()
) -> Iterator[tuple[InboxFile, NewFile]]:
    """Write the files, as they are to be stored, to folder/images and folder/masks, and yield each with its MD5.

    A file whose own MD5 is `known`, the data set's, is there with its private metadata: it stays as it is. Raises
    GitError, DataQualityError for a Git LFS pointer, DiskFullError, UnwritableError.
    """
    for file, original in zip(files, git.blobs(file.blob for file in files), strict=True):
        if original.startswith(LFS_POINTER):  # before contents are compared: equal pointers aren't equal photos
            raise DataQualityError(f"{inbox(file.kind)}/{file.name} {LFS_ADVICE}; nothing was changed.")
        content, place = stored(file.name, original, known)
        target = folder / file.kind / file.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        except OSError as error:
            raise from_os_error(error, target) from error
        yield file, NewFile(file.name, md5_of(content), len(content), place)


def pair_up(files: Sequence[tuple[str, NewFile]]) -> tuple[NewPair, ...]:
    """Return photos with their masks by stem, from ("images" or "masks", file).

    Raises PairingError for a photo or mask without its partner, or two files of one stem.
    """
    found: dict[str, dict[str, NewFile]] = {kind: {} for kind in KINDS}
    for kind, file in files:
        stem = stem_of(file.name)
        if stem in found[kind]:
            raise PairingError(f"{inbox(kind)} holds two files named {stem!r} but for the extension; remove one.")
        found[kind][stem] = file
    images, masks = found["images"], found["masks"]
    if lonely := sorted(images.keys() ^ masks.keys()):
        what, missing = ("photo", "masks") if lonely[0] in images else ("mask", "images")
        raise PairingError(
            f"The {what} {lonely[0]!r} has no partner (and {len(lonely) - 1} more): add a file of that name to "
            f"{inbox(missing)}, or remove the {what}."
        )
    return tuple(NewPair(images[stem], masks[stem]) for stem in sorted(images))
