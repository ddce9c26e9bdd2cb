"""`make bench-data`: what a push of ten photos costs as the data set grows, and how fast photos are checked.

Prints what it measured on this machine against a real S3 server on loopback; nothing is asserted.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table
from s3_server import S3Server
from workshop import Workshop

from wms.data.manifest import DataSet, Manifest
from wms.data.qa import validate_data
from wms.data.synthetic import write_dataset
from wms.errors import run_main
from wms.settings import RealDataSettings
from wms_ops.dataset.publish import publish
from wms_ops.dataset.versions import commit_version
from wms_ops.git.command import Git
from wms_ops.storage.config import RemoteConfig

NEW = 10
console = Console()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench-data", description=__doc__)
    parser.add_argument("--bases", default="100,1000,10000,100000", help="entries of the bases (default %(default)s)")
    parser.add_argument("--photos", type=int, default=120, help="photos for the check (default %(default)s)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name, S3Server(Path(name) / "s3") as s3:
        s3.create_bucket("bench")
        with environment(s3.environ):
            _hook_without_photos(Path(name), s3)
            _growth(Path(name), s3, [int(part) for part in arguments.bases.split(",")])
    _checks(arguments.photos)
    return 0


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """These variables, for libraries that read the process's own."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _shop(folder: Path, s3: S3Server, name: str) -> Workshop:
    return Workshop(folder / name, s3, RemoteConfig(bucket="bench", prefix=name, endpoint_url=s3.endpoint))


def _hook_without_photos(folder: Path, s3: S3Server) -> None:
    shop = _shop(folder, s3, "quick")
    clone = shop.clone()
    shop.write(clone, "notes.txt", "x\n")
    commit = shop.commit(clone, "Notes")
    line = f"refs/heads/main {commit} refs/heads/main {shop.branches()['main']}\n"
    hook = str(clone / ".git/hooks/pre-push")
    times = []
    for _ in range(21):
        started = time.perf_counter()
        shop.run("sh", "-c", f"printf '{line}' | '{hook}' origin file://{shop.origin}", where=clone)
        times.append(1000 * (time.perf_counter() - started))
    spread = f"median {statistics.median(times):.0f} ms, slowest {max(times):.0f} ms of {len(times)}"
    console.print(f"hook of a push without photos: {spread}")


def _growth(folder: Path, s3: S3Server, bases: Sequence[int]) -> None:
    table = Table("base", "seconds", "manifests, MB", "down, MB", "of it listings", "up, MB", "requests")
    for count in bases:
        shop = _shop(folder, s3, f"base{count}")
        manifests = _fill(shop, count)
        clone = shop.clone()
        shop.photos(clone, NEW)
        commit = shop.commit(clone)
        started = time.perf_counter()
        done = publish(Git(clone), commit, f"file://{shop.origin}")
        seconds = time.perf_counter() - started
        down, up = done.traffic.bytes_down, done.traffic.bytes_up
        cells = [manifests, down, max(0, down - manifests), up]
        numbers = [f"{cell / 1e6:.3f}" for cell in cells]
        table.add_row(f"{count:,}", f"{seconds:.1f}", *numbers, str(done.traffic.requests))
    console.print(table)
    console.print(f"{NEW} new photos with masks each time; both directions hold the manifests themselves.")


def _fill(shop: Workshop, count: int) -> int:
    """A base of `count` pairs in the store and on main; returns the bytes of its manifests."""
    contents = [f"photo {number}".encode() for number in range(count)]
    mask = b"mask"
    digests = [hashlib.md5(content, usedforsecurity=False).hexdigest() for content in contents]
    black = hashlib.md5(mask, usedforsecurity=False).hexdigest()
    version = DataSet(
        Manifest({f"id_{number:06}.jpg": digest for number, digest in enumerate(digests)}),
        Manifest({f"id_{number:06}.png": black for number in range(count)}),
        sum(map(len, contents)),
        len(mask) * count,
    )
    store = shop.store()
    steps = range(0, count, 1000)
    for start in track(steps, f"a base of {count:,}", console=console, transient=True):
        store.upload(dict(zip(digests[start : start + 1000], contents[start : start + 1000], strict=True)))
    store.upload({black: mask, **{manifest.oid: manifest.content for _, manifest, _ in version}})
    origin = Git(shop.origin)
    commit = commit_version(origin, version, [shop.branches()["main"]], "A base\n")
    origin("update-ref", "refs/heads/main", commit)
    return sum(len(manifest.content) for _, manifest, _ in version)


def _checks(count: int) -> None:
    table = Table("photos checked", "processes", "cold, photos/s", "warm, photos/s")
    real = RealDataSettings.read().wms_real_data
    with tempfile.TemporaryDirectory() as name:
        folder, kind = Path(name) / "made", f"{count} synthetic, 512 px"
        if real:
            folder, kind = Path(real) / "base", "real, base/"
        else:
            write_dataset(folder, count, seed=1)
        for workers in (1, 2):
            speeds = []
            for _ in range(2):
                started = time.perf_counter()
                report = validate_data(folder, cache_folder=Path(name) / f"cache{workers}", workers=workers)
                speeds.append(f"{report['image_count'] / (time.perf_counter() - started):,.0f}")
            table.add_row(kind, str(workers), *speeds)
    console.print(table)


if __name__ == "__main__":
    sys.exit(run_main(main))
