"""The files of an export, a folder or a .zip: read one by one, bounded, and never unpacked to the disk."""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from json import JSONDecodeError, detect_encoding
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree  # nosec B405 - for its tree: `xml` reads, and refuses a document type
from xml.parsers import expat

import yaml

from wms.data.qa.names import shown
from wms.errors import DataNotFoundError, ExportDamagedError, ExportUnsafeError
from wms.files import parse_json
from wms.regular import read_regular

MOST_FILES: Final = 300_000
LARGEST_FILE: Final = 256 * 2**20
LARGEST_YAML: Final = 2**20
LARGEST_TOTAL: Final = 64 * 2**30
HIGHEST_RATIO: Final = 200
"""How many times smaller a .zip may store a file of over 8 MiB; a photo isn't 1.1 times, an export's text 30 times."""
_SMALL: Final = 8 * 2**20


@dataclass(frozen=True)
class Tree:
    """The files of an export by their paths with forward slashes, sorted; hidden files don't count.

    `where` names the export in sentences, `passed_over` are links and special files, which aren't read.
    """

    where: str
    names: tuple[str, ...]
    load: Callable[[str], bytes]
    passed_over: tuple[str, ...] = ()
    parsed: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def listed(self) -> frozenset[str]:
        """The names, to look a name up."""
        return frozenset(self.names)

    def read(self, name: str) -> bytes:
        """A file's content. Raises ExportDamagedError, and ExportUnsafeError if the file is too large."""
        return self.load(name)

    def text(self, name: str) -> str:
        """A text file's content, without the byte order mark. Raises ExportDamagedError."""
        content = self.read(name)
        try:
            return content.decode(detect_encoding(content))
        except UnicodeDecodeError as error:
            raise self.damaged(name, "it isn't UTF-8 text") from error

    def json(self, name: str) -> Any:
        """The value of a JSON file, parsed once. Raises ExportDamagedError with the line."""
        if name not in self.parsed:
            try:
                self.parsed[name] = parse_json(self.text(name))
            except JSONDecodeError as error:
                raise self.damaged(name, f"line {error.lineno} isn't JSON ({error.msg})") from error
            except ValueError as error:
                raise self.damaged(name, f"it isn't JSON ({error})") from error
        return self.parsed[name]

    def xml(self, name: str) -> ElementTree.Element:
        """The root of an XML file. Raises ExportDamagedError with the line, ExportUnsafeError for a DTD or entities."""

        def refuse(*_: object) -> None:
            raise ExportUnsafeError(
                f"{self.named(name)} declares a document type, as XML bombs do; no tool exports that."
            )

        builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()
        parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
        parser.CharacterDataHandler = builder.data
        parser.StartDoctypeDeclHandler = refuse
        try:
            parser.Parse(self.read(name), True)
        except expat.ExpatError as error:
            raise self.damaged(name, f"line {error.lineno} isn't XML ({expat.ErrorString(error.code)})") from error
        except (ValueError, LookupError) as error:
            raise self.damaged(name, f"it isn't XML ({error})") from error
        return builder.close()

    def yaml(self, name: str) -> Any:
        """The value of a YAML file. Raises ExportDamagedError with the line, ExportUnsafeError for anchors and size."""
        text = self.text(name)
        if len(text) > LARGEST_YAML:
            raise ExportUnsafeError(f"{self.named(name)} has over {LARGEST_YAML // 2**20} MiB; no list of classes has.")
        try:
            # Looked for before a value is built: few lines of aliases to aliases stand for billions of values.
            if any(getattr(event, "anchor", None) for event in yaml.parse(text, yaml.SafeLoader)):
                raise ExportUnsafeError(f"{self.named(name)} has anchors, as YAML bombs do; no tool exports that.")
            return yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise self.damaged(name, f"line {line} isn't YAML ({error.problem})") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise self.damaged(name, "it isn't YAML") from error

    @contextlib.contextmanager
    def expecting(self, name: str) -> Iterator[None]:
        """Turn the errors of code that takes a parsed file's values apart into ExportDamagedError."""
        try:
            yield
        except KeyError as error:
            raise self.damaged(name, f"the value {error} is missing") from error
        except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            raise self.damaged(name, f"a value is of another kind than this format has ({error})") from error

    def damaged(self, name: str, why: str) -> ExportDamagedError:
        """The error on a file that can't be used."""
        return ExportDamagedError(f"{self.named(name)} is damaged: {why}; export it again.")

    def named(self, name: str) -> str:
        """A file for a sentence."""
        return f"{shown(self.where)}: {shown(name)}"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Tree]:
    """The export in a folder or a .zip. Raises DataNotFoundError, ExportDamagedError or ExportUnsafeError."""
    if path.is_dir():
        yield _folder(path)
        return
    try:
        read_regular(path)[:0]
        with zipfile.ZipFile(path) as archive:
            yield _archive(path, archive)
    except zipfile.BadZipFile as error:
        raise ExportDamagedError(
            f"{shown(str(path))} is neither a folder nor a sound .zip ({error}); export it again, or unpack it."
        ) from error
    except OSError as error:
        raise DataNotFoundError(f"Can't read {shown(str(path))}: {error.strerror or error}.") from error


def _folder(path: Path) -> Tree:
    names: list[str] = []
    passed_over: list[str] = []
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in (*files, *(one for one in folders if Path(folder, one).is_symlink())):
            inside = Path(folder, name).relative_to(path).as_posix()
            is_file = stat.S_ISREG(Path(folder, name).lstat().st_mode)
            if _counts(inside):
                (names if is_file else passed_over).append(inside)
        if len(names) > MOST_FILES:
            raise ExportUnsafeError(f"{shown(str(path))} holds over {MOST_FILES} files; name the export's own folder.")

    def load(name: str) -> bytes:
        try:
            if (path / name).stat().st_size > LARGEST_FILE:
                raise _too_large(str(path), name)
            return read_regular(path / name)
        except OSError as error:
            raise ExportDamagedError(f"Can't read {shown(str(path / name))}: {error.strerror or error}.") from error

    return Tree(str(path), tuple(sorted(names)), load, tuple(sorted(passed_over)))


def _archive(path: Path, archive: zipfile.ZipFile) -> Tree:
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        if reason := _refused(entry, entries):
            raise ExportUnsafeError(f"{shown(str(path))} isn't read: {shown(entry.orig_filename)} {reason}.")
        if not entry.is_dir() and _counts(name := _slashed(entry.filename)):
            entries[name] = entry
    total = sum(entry.file_size for entry in entries.values())
    stored = sum(entry.compress_size for entry in entries.values())
    if stored > path.stat().st_size:
        raise ExportUnsafeError(
            f"{shown(str(path))} isn't read: its {len(entries)} files share their bytes, as in zip bombs."
        )
    if len(entries) > MOST_FILES or total > LARGEST_TOTAL:
        raise ExportUnsafeError(
            f"{shown(str(path))} isn't read: it unpacks to {len(entries)} files of {total / 2**30:.1f} GiB "
            f"(at most {MOST_FILES} and {LARGEST_TOTAL / 2**30:.0f} may be); import it in parts."
        )

    def load(name: str) -> bytes:
        try:
            with archive.open(entries[name]) as stream:
                content = stream.read(LARGEST_FILE + 1)
        # zipfile raises NotImplementedError for a way of packing that it lacks, RuntimeError for a password.
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise ExportDamagedError(f"{shown(str(path))}: {shown(name)} can't be unpacked ({error}).") from error
        if len(content) > LARGEST_FILE:
            raise _too_large(str(path), name)
        return content

    return Tree(str(path), tuple(sorted(entries)), load)


def _refused(entry: zipfile.ZipInfo, known: dict[str, zipfile.ZipInfo]) -> str:
    """Why an entry of a .zip isn't safe to read; empty for a safe one."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    reasons = (
        (is_outside(entry.orig_filename), "leads out of the archive"),
        (kind not in (0, stat.S_IFREG, stat.S_IFDIR), "is a link or a special file"),
        (entry.flag_bits & 1, "is encrypted; export without a password"),
        (_slashed(entry.filename) in known, "is in there twice"),
        (entry.file_size > LARGEST_FILE, f"has over {LARGEST_FILE // 2**20} MiB"),
        (
            entry.file_size > max(_SMALL, HIGHEST_RATIO * entry.compress_size),
            f"is {entry.file_size // max(1, entry.compress_size)} times as large unpacked, as zip bombs are",
        ),
    )
    return next((text for holds, text in reasons if holds), "")


def is_outside(name: str) -> bool:
    """Whether a path of an export leads somewhere else: absolute, upwards, to a drive, or with a NUL."""
    parts = _slashed(name).split("/")
    return "\0" in name or ".." in parts or not parts[0] or parts[0][1:2] == ":"


def _slashed(name: str) -> str:
    return name.replace("\\", "/")


def _counts(name: str) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _too_large(where: str, name: str) -> ExportUnsafeError:
    return ExportUnsafeError(f"{shown(where)}: {shown(name)} has over {LARGEST_FILE // 2**20} MiB; it isn't read.")
