"""A job's result is data: whatever an instance or another writer to the bucket puts into it, no code comes of it."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from wms_ops.base.errors import CloudError
from wms_ops.targets.host.transfer import unpack

UNSAFE, DAMAGED = 79, 84
GOOD = "runs/run_1/metadata.json"


def member(name: str, content: bytes = b"{}", **facts: object) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for key, value in facts.items():
        setattr(entry, key, value)
    return entry, content


def archive(path: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]], **options: object) -> Path:
    with tarfile.open(path, "w:gz", **options) as tar:  # type: ignore[call-overload]
        for entry, content in members:
            tar.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
    return path


def raw(path: Path, change: Callable[[bytearray], None], *more: bytes) -> Path:
    """An archive of one file whose header is changed, with a checksum that's right again."""
    block = bytearray(member("runs/a.json")[0].tobuf(tarfile.USTAR_FORMAT))
    change(block)
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
    path.write_bytes(gzip.compress(b"".join((*more, bytes(block), b"{}".ljust(512, b"\0"), bytes(10240)))))
    return path


def refused(source: Path, folder: Path, words: str, code: int = UNSAFE) -> None:
    """Unpacking ends with this sentence and code, and changes nothing at all."""
    folder.mkdir(exist_ok=True)
    before = sorted((path, path.lstat().st_mtime_ns) for path in folder.rglob("*"))
    with pytest.raises(CloudError, match=words) as caught:
        unpack(source, folder)
    assert caught.value.exit_code == code
    assert sorted((path, path.lstat().st_mtime_ns) for path in folder.rglob("*")) == before


@pytest.mark.parametrize(
    "name",
    [
        *(".git/hooks/post-checkout", ".git/config", "runs/.git/config", "runs/.GIT/a.json", "runs/git~1/a.json"),
        *("runs/.git./a.json", "runs/.git /a.json", "runs/.g\u200cit/a.json", "runs/.git::$INDEX_ALLOCATION/a.json"),
        *("WMS/src/wms/errors.py", "WMS/data/x.json", "WMS/models/production.pth", "hooks/pre-push", "dvc.yaml"),
        *("Makefile", "pyproject.toml", ".dvc/config", ".dvc/config.local", ".github/workflows/a.yml", ".env"),
        *("runs/conftest.py", "runs/run_1/dvc.yaml", "runs/x.dvc", "runs/.gitattributes", "runs/.a.json", "runs/a"),
        *("runs/a.json/", "runs", "WMS/models/candidate", "wms/models/candidate/a.json", "RUNS/a.json"),
        *("../a.json", "runs/../a.json", "runs/../../a.json", "/a.json", "runs//a.json", "./runs/a.json"),
        *("runs\\a.json", "runs/..\\a.json", "runs/a\nb.json", "runs/C:a.json", "runs/nul.json", "runs/a.json."),
    ],
)
def test_only_data_under_the_paths_of_results(tmp_path: Path, name: str) -> None:
    (tmp_path / "client").mkdir()
    (tmp_path / "client" / ".git").mkdir()
    bad = archive(tmp_path / "bad.tar.gz", [member(GOOD), member(name)])
    refused(bad, tmp_path / "client", r"The job's result holds '.*', which .*; nothing was written")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bad.tar.gz", "client"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "is a symbolic link"),
        (tarfile.LNKTYPE, "is a hard link"),
        (tarfile.FIFOTYPE, "is a pipe"),
        (tarfile.CHRTYPE, "is a device"),
        (tarfile.BLKTYPE, "is a device"),
        (tarfile.DIRTYPE, "is a folder"),
        (tarfile.GNUTYPE_SPARSE, "is a file with holes"),
        (b"Z", "is of an unknown kind"),
    ],
)
def test_only_regular_files(tmp_path: Path, kind: bytes, words: str) -> None:
    entry, _ = member("runs/b.json", b"", type=kind, linkname=GOOD)
    refused(archive(tmp_path / "bad.tar.gz", [member(GOOD), (entry, b"")]), tmp_path / "client", words)


def test_the_escape_from_python_s_own_filter(tmp_path: Path) -> None:
    """CVE-2025-4517: a path that is too long to be resolved isn't checked by the filter "data"."""
    (tmp_path / "outside").write_text("as it was")
    deep, steps = "d" * 247, "abcdefghijklmnop"
    members, path = [], ""
    for step in steps:
        members.append(member(f"{path}{deep}", b"", type=tarfile.DIRTYPE, mode=0o755))
        members.append(member(f"{path}{step}", b"", type=tarfile.SYMTYPE, linkname=deep))
        path = f"{path}{deep}/"
    long = f"{'/'.join(steps)}/{'l' * 254}"
    members.append(member(long, b"", type=tarfile.SYMTYPE, linkname="../" * len(steps)))
    members.append(member("escape", b"", type=tarfile.SYMTYPE, linkname=f"{long}/../../outside"))
    members.append(member("link", b"", type=tarfile.LNKTYPE, linkname="escape"))
    members.append(member("link", b"changed"))
    refused(archive(tmp_path / "bad.tar.gz", members), tmp_path / "client", "is a folder")
    assert (tmp_path / "outside").read_text() == "as it was"


def test_a_name_comes_once(tmp_path: Path) -> None:
    pairs = {
        "is in it twice": ("runs/a.json", "runs/a.json"),
        "can't be kept beside 'runs/a.json'": ("runs/a.json", "runs/A.json"),
        "can't be kept beside 'runs/a.json/b.json'": ("runs/a.json/b.json", "runs/a.json"),
    }
    for words, names in pairs.items():
        refused(archive(tmp_path / "bad.tar.gz", [member(name) for name in names]), tmp_path / "client", words)


def test_nothing_is_written_through_what_lies_in_the_way(tmp_path: Path) -> None:
    client, outside = tmp_path / "client", tmp_path / "outside"
    outside.mkdir()
    good = archive(tmp_path / "good.tar.gz", [member("WMS/data/prepared.json"), member(GOOD)])
    for name in ("runs", "WMS"):
        client.mkdir(exist_ok=True)
        (client / name).symlink_to(outside)
        refused(good, client, f"would be written through .*/{name}, a link or a file")
        assert list(outside.iterdir()) == []
        (client / name).unlink()
    (client / GOOD).mkdir(parents=True)
    (client / GOOD / "kept").touch()
    refused(good, client, "would replace the folder")
    (client / GOOD / "kept").unlink()
    (client / GOOD).rmdir()
    (client / GOOD).symlink_to(outside / "x")  # a link itself is replaced, and what it leads to stays
    unpack(good, client)
    assert (client / GOOD).read_text() == "{}" and not (client / GOOD).is_symlink() and list(outside.iterdir()) == []


def test_no_file_is_a_program(tmp_path: Path) -> None:
    for mode in (0o755, 0o4777, 0o7777, 0o000):
        unpack(archive(tmp_path / "a.tar.gz", [member(GOOD, mode=mode, uid=7)]), tmp_path / "client")
        assert (tmp_path / "client" / GOOD).stat().st_mode & 0o7777 == 0o644


def test_headers_that_change_what_a_member_is(tmp_path: Path) -> None:
    client, bad = tmp_path / "client", tmp_path / "bad.tar.gz"
    for key, value in (("path", ".git/config"), ("path", "/a"), ("path", "a\0.json")):
        refused(archive(bad, [member(GOOD, pax_headers={key: value})]), client, "holds '.*', which")
    for key in ("size", "GNU.sparse.map", "GNU.sparse.name", "linkpath", "hdrcharset", "SCHILY.xattr.x"):
        refused(archive(bad, [member(GOOD, pax_headers={key: "0"})]), client, f"extended header '{key}'")
    refused(archive(bad, [], pax_headers={"path": "runs/a.json"}), client, "is of an unknown kind")  # one for all
    refused(archive(bad, [member(GOOD, pax_headers={"path": "a" * 70_000})]), client, "header that is too long")

    def size(text: bytes) -> Callable[[bytearray], None]:
        return lambda block: block.__setitem__(slice(124, 136), text.ljust(12, b"\0"))

    for text in (b"-1", b"0x9", b"\xff" * 12, b"\x80" + b"\0" * 10 + b"\x02"):
        refused(raw(bad, size(text)), client, "can't be unpacked", DAMAGED)
    refused(raw(bad, size(b"77777777777")), client, "can't be unpacked", DAMAGED)
    refused(raw(bad, lambda block: block.__setitem__(slice(0, 3), b"a\xff\xfe")), client, "isn't a name in UTF-8")


def test_an_archive_s_size_is_limited(tmp_path: Path) -> None:
    from wms_ops.targets.host.archive import Rules, staged

    rules = Rules("The archive", "End.", lambda _: None, most_bytes=100_000, most_files=3)
    whole = archive(tmp_path / "whole.tar.gz", [member(f"runs/{n}.json", bytes(20_000)) for n in range(3)])
    with staged(whole, tmp_path / "client", rules) as files:
        assert [path.stat().st_size for path in files.values()] == [20_000] * 3
    more = archive(tmp_path / "more.tar.gz", [member(f"runs/{n}.json") for n in range(4)])
    bomb = archive(tmp_path / "bomb.tar.gz", [member("runs/a.json", bytes(200_000))])
    behind = tmp_path / "behind.tar.gz"
    behind.write_bytes(gzip.compress(bytes(1024) + bytes(2_000_000)))
    for source, words in ((more, "one more than the 3 files"), (bomb, "more than the"), (behind, "more than the")):
        with pytest.raises(CloudError, match=words) as caught, staged(source, tmp_path / "client", rules):
            pass
        assert caught.value.exit_code == UNSAFE and not list((tmp_path / "client").iterdir())
    with staged(whole, tmp_path / "client", replace(rules, most_bytes=60_000)) as files:
        assert len(files) == 3


def test_a_damaged_archive(tmp_path: Path) -> None:
    client, bad = tmp_path / "client", tmp_path / "bad.tar.gz"
    whole = archive(tmp_path / "a.tar.gz", [member(GOOD, os.urandom(3000)), member("runs/b.json")]).read_bytes()
    words = r"The job's result can't be unpacked \(.*\); run it again"
    for cut in (0, 5, 12, 700, 2900, len(whole) - 20, len(whole) - 8, len(whole) - 1):
        bad.write_bytes(whole[:cut])
        refused(bad, client, words, DAMAGED)
    for at in (1, 40, 1500, len(whole) - 6):
        bad.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        refused(bad, client, words, DAMAGED)
    plain = gzip.decompress(whole)
    for content in (plain + b"more", plain[:512] + bytes(512), b"x" * 1024, plain[:2048]):
        bad.write_bytes(gzip.compress(content))
        refused(bad, client, words, DAMAGED)
    with zipfile.ZipFile(bad, "w") as zipped:
        zipped.writestr(GOOD, "{}")
    refused(bad, client, words, DAMAGED)


def test_what_this_and_earlier_versions_pack_is_read(tmp_path: Path) -> None:
    """An instance may have been started by an earlier version, whose archives name owners and times."""
    names = (GOOD, "runs/ü b.json", f"runs/{'long' * 40}.json", "WMS/data/splits.jsonl", "WMS/models/candidate/a.onnx")
    (tmp_path / "file").write_text("{}")
    old = tmp_path / "old.tar.gz"
    with tarfile.open(old, "w:gz", compresslevel=1) as tar:
        for name in names:
            tar.add(tmp_path / "file", arcname=name, recursive=False)
    unpack(old, tmp_path / "client")
    assert all((tmp_path / "client" / name).read_text() == "{}" for name in names)
