"""Finds photos, masks and other large binary files among the files that a push's commits add, wherever they lie.

Names and sizes of all added files are looked at, and the content of those only that may be pictures. Git keeps what it
got once, so files count that a later commit removes again. Only the standard library is imported here.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from wms.project import FILE, project
from wms_ops.base.errors import PushRefusedError
from wms_ops.base.layout import KINDS, inbox, main_branch
from wms_ops.git.command import ZERO, Git
from wms_ops.hook.refs import PushedRef

LARGE_BYTES: Final = 5_000_000
"""From this size on a binary file of any kind is refused, such as an archive of photos."""

_HUGE_BYTES: Final = 100_000_000  # GitHub refuses these, and they aren't read into memory
_PHOTO_NAMES: Final = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".psd", ".jp2"),
        *(".heic", ".heif", ".hif", ".avif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"),
    )
)
# Text as this project has it; the content of any other file from _PEEKED_BYTES on is read.
_TEXT_NAMES: Final = frozenset(
    (
        *(".bat", ".css", ".csv", ".dvc", ".hcl", ".html", ".ini", ".ipynb", ".j2", ".js", ".json", ".jsonl", ".lock"),
        *(".md", ".py", ".sh", ".svg", ".tf", ".toml", ".txt", ".xml", ".yaml", ".yml"),
    )
)
_PEEKED_BYTES: Final = 256
_STARTS: Final = (
    (b"\xff\xd8\xff", "a JPEG"),
    (b"\x89PNG\r\n\x1a\n", "a PNG"),
    (b"GIF8", "a GIF"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"II+\0", "a TIFF"),
    (b"8BPS", "a picture of Photoshop"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL"),
)
_HEIF: Final = re.compile(rb"....ftyp(hei[cfmsx]|hev[cmsx]|mif1|msf1|avi[fs]|crx )", re.DOTALL)
_ARCHIVE: Final = b"PK\x03\x04"
_IN_ARCHIVE: Final = re.compile(rb"\.(jpe?g|png|tiff?|heic|webp|bmp)", re.IGNORECASE)
_FILES: Final = ("100644", "100755", "120000")


@dataclass(frozen=True, slots=True)
class Added:
    """A file's path in the commit that adds or changes the file, and its Git object."""

    commit: str
    path: str
    blob: str


def refuse_pictures(git: Git, refs: Iterable[PushedRef], remote: str) -> None:
    """Raise PushRefusedError, with the file's name, for a photo, mask or large binary file outside of the inbox.

    wms.toml's `allowed_images` may stay in Git, and so may each file that the remote's main holds already.
    """
    for ref in refs:
        if ref.deletes:
            continue
        tip, there, main = git.commits(ref.local_commit, ref.remote_commit, f"refs/remotes/{remote}/{main_branch()}")
        if tip is None:
            continue
        known = [commit for commit in (there, main) if commit]
        found = [(added, what) for added, what in _pictures(git, tip, known)]
        held = _held(git, known) if found else set()
        wrong = [(added, what) for added, what in found if added.blob not in held]
        if wrong:
            raise PushRefusedError(_sentence(git, ref, wrong, tip, main or there))


def added_by(git: Git, tip: str, known: Sequence[str]) -> Iterator[Added]:
    """Yield each file that commits of `tip` add or change, but not those of `known`.

    A merge counts with the files only that no parent has. Raises GitError.
    """
    commits = git("rev-list", tip, *(f"^{commit}" for commit in known))
    if not commits:
        return
    diff = ("diff-tree", "--stdin", "-c", "--root", "-r", "-z", "--raw", "--no-renames", "--no-abbrev")
    commit = ""
    items = git.names(*diff, data=f"{commits}\n".encode())
    for item in items:
        if not item.startswith(":"):
            commit = item.strip()
            continue
        # As many modes and objects as there are parents, then those of the commit itself.
        words = item.split(" ")
        parents = len(item) - len(item.lstrip(":"))
        path = next(items)
        if words[parents] in _FILES:
            yield Added(commit, path, words[2 * parents + 1])


def _pictures(git: Git, tip: str, known: Sequence[str]) -> Iterator[tuple[Added, str]]:
    """Yield each added file that is a picture or a large binary file, with the words for its kind."""
    patterns = project().allowed_images
    own = tuple(f"{inbox(kind)}/" for kind in KINDS)
    looked: dict[str, Added] = {}
    for added in added_by(git, tip, known):
        allowed = any(fnmatch.fnmatchcase(added.path, pattern) for pattern in patterns)
        if not allowed and not added.path.startswith(own):
            by_name = _suffix(added.path) in _PHOTO_NAMES
            if by_name or added.blob not in looked:
                looked[added.blob] = added
    sizes = _sizes(git, looked)
    read = []
    for blob, added in looked.items():
        size = sizes.get(blob, 0)
        if _suffix(added.path) in _PHOTO_NAMES:
            yield added, "a photo or mask by its name"
        elif size >= _HUGE_BYTES:
            yield added, f"a file of {size / 1e6:.0f} MB"
        elif size >= LARGE_BYTES or (size >= _PEEKED_BYTES and _suffix(added.path) not in _TEXT_NAMES):
            read.append(blob)
    for blob, content in zip(read, git.blobs(read), strict=True):
        if kind := _kind(content):
            yield looked[blob], kind


def _kind(content: bytes) -> str:
    """The words for a picture, an archive of pictures or a large binary file; empty for anything else."""
    kind = next((kind for start, kind in _STARTS if content.startswith(start)), "")
    if content[:2] == b"BM" and int.from_bytes(content[2:6], "little") == len(content):
        kind = "a BMP"
    elif content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        kind = "a WebP"
    elif found := _HEIF.match(content):
        kind = "an AVIF" if found[1].startswith(b"avi") else "a HEIC"
    elif content.startswith(_ARCHIVE) and _IN_ARCHIVE.search(content):
        kind = "an archive with pictures"
    elif not kind and len(content) >= LARGE_BYTES and b"\0" in content[:8000]:
        kind = f"a binary file of {len(content) / 1e6:.1f} MB"
    return kind


def _sizes(git: Git, blobs: Iterable[str]) -> dict[str, int]:
    """The sizes in bytes of those objects that this clone has."""
    asked = "".join(f"{blob}\n" for blob in blobs).encode()
    lines = git("cat-file", "--batch-check=%(objectname) %(objectsize)", data=asked).splitlines() if asked else []
    found = (line.split(" ") for line in lines)
    return {blob: int(size) for blob, size in found if size.isdecimal()}


def _held(git: Git, commits: Sequence[str]) -> set[str]:
    """The objects of all files in these commits."""
    return {blob for commit in commits for _, blob, _ in git.files(commit)}


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _sentence(git: Git, ref: PushedRef, wrong: Sequence[tuple[Added, str]], tip: str, start: str | None) -> str:
    added, what = wrong[0]
    paths = list(dict.fromkeys(one.path for one, _ in wrong))
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    target = ref.remote_name.split("/", 2)[-1]
    base = git.attempt("merge-base", tip, start).stdout.decode("ascii").strip() if start else ""
    undo = f"`git reset --soft {base[:10]}`, then " if base and base != ZERO else ""
    shown = shlex.join(paths[:3])
    return (
        f"{added.path!r}{more} ({what}, in commit {added.commit[:10]}) may not reach {target}: Git would keep it for "
        f"good, so nothing was pushed. Photos belong into {inbox('images')}, masks into {inbox('masks')}. To take it "
        f"out of your commits: {undo}`git rm --cached {shown}`, and commit again. If it is no photo of the data set, "
        f"add its path to allowed_images in {FILE}."
    )
