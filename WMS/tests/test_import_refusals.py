"""Exports that can't be read right are refused by name: one sentence, a code of its own, and nothing is written."""

from __future__ import annotations

import random
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from entrance_table import REFUSED, Row
from import_yard import coco, files, photo, run, text, write, xml

from wms.errors import (
    DataNotFoundError,
    ExportClassError,
    ExportDamagedError,
    ExportUnknownError,
    ExportUnsafeError,
    NameTakenError,
    UsageError,
    WmsError,
)

RECTANGLE = "0 0.5 0.5 0.2 0.1"


def archive(path: Path, *names: str, link: bool = False, content: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (stat.S_IFLNK if link else stat.S_IFREG) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            made.writestr(entry, content)
    return path


def bomb(folder: Path) -> Path:
    return archive(folder / "bomb.zip", "a.json", content=b"[" + b" " * 20_000_000 + b"]")


def liar(folder: Path) -> Path:
    """A .zip whose directory says that a large file is small."""
    path = archive(folder / "liar.zip", "a.json", content=b"[" + b" " * 9_000_000 + b"]")
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = content.index(mark) + offset
        content[at : at + 4] = struct.pack("<I", 3)
    path.write_bytes(content)
    return path


def overlapping(folder: Path) -> Path:
    """A .zip whose 3,000 entries share their bytes, as in a bomb of that kind."""
    data = zlib.compress(random.Random(1).randbytes(600), 0)[2:-4]
    head = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(data), 600, 1, 0) + b"a" + data
    rows = b""
    for n in range(3000):
        name = f"{n}.json".encode()
        sizes = (0, 20, 20, 0, 8, 0, 0, 0, len(data), 600, len(name), 0, 0, 0, 0, 0, 0)
        rows += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", *sizes[1:3], *sizes[3:]) + name
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 3000, 3000, len(rows), len(head), 0)
    path = folder / "overlap.zip"
    path.write_bytes(head + rows + end)
    return path


def yolo(names: str) -> Callable[[Path], Path]:
    return lambda folder: text("data.yaml", names)(text("labels/a.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5\n")(folder))


ALIASES = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n}\n  <<: [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30))
IMAGE = {"id": 1, "file_name": "a.jpg", "width": 320, "height": 240}
NO_NAME = "the name of a class is neither a text nor a number"
LAUGHS = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]><annotations>&c;</annotations>'
TRACKS = "<annotations><track id='0' label='strip'></track></annotations>"
WHOLE: dict[str, tuple[Callable[[Path], Path], type[WmsError], str]] = {
    "no such path": (lambda f: f / "nowhere", UsageError, "There is no .*nowhere"),
    "an empty folder": (lambda f: f, DataNotFoundError, "holds no files"),
    "photos only": (lambda f: photo(f / "a.jpg").parent, ExportUnknownError, "Looked for coco: .*; yolo: .*; labelme"),
    "a text file as SOURCE": (
        lambda f: write(f / "a.txt", "hello"),
        ExportDamagedError,
        "neither a folder nor a sound",
    ),
    "two formats at once": (
        lambda f: text("labels/a.txt", "0 0 0 1 0 1 1")(coco(f)),
        ExportUnknownError,
        "several formats, coco and yolo; name one by `--format coco`",
    ),
    "damaged JSON": (
        lambda f: write(f / "a.json", '{\n"a": 1,\n}').parent,
        ExportDamagedError,
        "a.json .*line 3 isn't",
    ),
    "200,000 brackets": (lambda f: write(f / "a.json", "[" * 200_000).parent, ExportDamagedError, "nested too deeply"),
    "JSON that isn't UTF-8": (
        lambda f: write(f / "b.json", "[]").with_name("a.json").write_bytes(b'{"a": "\xe4"}') and f,
        ExportDamagedError,
        "it isn't UTF-8 text",
    ),
    "damaged XML": (xml("<annotations>\n<image>\n</annotations>"), ExportDamagedError, "line 3 isn't XML"),
    "an XML bomb": (xml(LAUGHS), ExportUnsafeError, "declares a document type, as XML bombs do"),
    "CVAT for video": (xml(TRACKS), ExportUnknownError, 'export the task as "CVAT for images 1.1"'),
    "damaged YAML": (
        lambda f: text("data.yaml", "names: [a\nb: c: d")(text("labels/a.txt", RECTANGLE)(f)),
        ExportDamagedError,
        "data.yaml is damaged: line 2",
    ),
    "a YAML bomb of aliases": (yolo(f"{ALIASES}names: *a11\n"), ExportUnsafeError, "has anchors, as YAML bombs do"),
    "a YAML bomb of merged keys": (yolo(f"{MERGES}names: [strip]\n"), ExportUnsafeError, "has anchors"),
    "a YAML list of 2 MiB": (yolo("names: [" + "a, " * 700_000 + "]"), ExportUnsafeError, "has over 1 MiB"),
    **{
        f"YOLO's class named by {name}": (yolo(f"names: [{name}]\n"), ExportDamagedError, NO_NAME)
        for name in ("[a, b]", "{a: b}", "null", "no", "2026-01-01")
    },
    "YOLO's names as a text": (yolo("names: strip\n"), ExportDamagedError, "names is a text, where a list"),
    "COCO's class named by a list": (
        lambda f: coco(f, categories=[{"id": 1, "name": ["strip"]}]),
        ExportDamagedError,
        NO_NAME,
    ),
    "COCO without file names": (
        lambda f: coco(f, images=[{"id": 1}]),
        ExportDamagedError,
        "the value 'file_name' is missing",
    ),
    "COCO: two images of one id": (
        lambda f: coco(f, images=[IMAGE, {**IMAGE, "file_name": "b.jpg"}]),
        ExportDamagedError,
        "in images, the id 1 stands for both a.jpg and b.jpg",
    ),
    "COCO: two categories of one id": (
        lambda f: coco(f, categories=[{"id": 1, "name": "strip"}, {"id": 1, "name": "digits"}]),
        ExportDamagedError,
        "in categories, the id 1 stands for both strip and digits",
    ),
    "Label Studio's PNGs without JSON": (
        lambda f: photo(f / "task-1-annotation-2-by-1-tag-strip-0.png").parent,
        ExportUnknownError,
        "name tasks and no photos; export JSON, too",
    ),
    "a .zip bomb": (bomb, ExportUnsafeError, "times as large unpacked, as zip bombs are"),
    "a .zip that lies about a size": (liar, ExportDamagedError, "can't be unpacked"),
    "a .zip of overlapping entries": (overlapping, ExportUnsafeError, "3000 files share their bytes, as in zip bombs"),
    "a .zip with ../": (lambda f: archive(f / "a.zip", "../a.json"), ExportUnsafeError, "leads out of the archive"),
    "a .zip with an absolute name": (lambda f: archive(f / "a.zip", "/a.json"), ExportUnsafeError, "leads out"),
    "a .zip with a drive": (lambda f: archive(f / "a.zip", "C:\\a.json"), ExportUnsafeError, "leads out"),
    "a .zip with a link": (lambda f: archive(f / "a.zip", "a.jpg", link=True), ExportUnsafeError, "a link"),
    "a damaged .zip": (
        lambda f: (p := archive(f / "a.zip", "a.json")).write_bytes(p.read_bytes()[:-30]) and p,
        ExportDamagedError,
        "neither a folder nor a sound",
    ),
    **{
        f"COCO's file_name {name!r}": (
            partial(coco, name=name),
            ExportUnsafeError,
            "isn't inside of the export",
        )
        for name in ("../../x.jpg", "/etc/x.jpg", "..\\x.jpg", "C:\\x.jpg", "a\0.jpg")
    },
    "no label anywhere": (lambda f: coco(f, annotations=[]), DataNotFoundError, "holds no label; 1 photo without one"),
}


@pytest.mark.parametrize("what", WHOLE)
def test_an_export_that_is_refused(what: str, tmp_path: Path, entrance: Row) -> None:
    make, kind, said = WHOLE[what]
    (tmp_path / "export").mkdir()
    with pytest.raises(kind, match=f"(?s){said}") as caught:
        run(make(tmp_path / "export"), tmp_path / "to")
    assert files(tmp_path / "to") == []
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    told = str(caught.value).replace(str(tmp_path), "")
    entrance("import", what, f"{told} (code {caught.value.exit_code})", REFUSED)


def test_each_kind_has_a_code_of_its_own() -> None:
    kinds = (ExportUnknownError, ExportDamagedError, ExportUnsafeError, ExportClassError, NameTakenError)
    assert [kind.exit_code for kind in kinds] == [51, 52, 53, 54, 55]
