"""`make prove-entrance`: mutated photos, mutated masks and generated Git configurations, each through the entrance.

A photo is read right or refused by a sentence, a mask that marks something never reads as empty, and a push loses
nothing and says nothing wrong, whatever is configured.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from fuzz_exif import check, mutated_photo
from fuzz_git_config import git_configuration, push_under
from fuzz_masks import mutated_masks, try_mask
from proofs import Part, prove
from s3_server import S3Server
from workshop import Workshop

from wms.errors import run_main
from wms_ops.storage.config import RemoteConfig

_servers: list[S3Server] = []


def _photo(seed: int, folder: Path) -> str:
    return check(mutated_photo(seed), folder)


def _mask(seed: int, folder: Path) -> str:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return try_mask(next(mutated_masks(seed)), folder / "set")


def _push(seed: int, folder: Path) -> str:
    return push_under(_shop(_servers[-1].folder.parent), git_configuration(seed))


@cache
def _shop(folder: Path) -> Workshop:
    """The origin of this process, whose data set lies in the server that all processes share."""
    name, server = f"shop-{os.getpid()}", _servers[-1]
    return Workshop(folder / name, server, RemoteConfig("proof", name, endpoint_url=server.endpoint))


@contextlib.contextmanager
def _store() -> Iterator[None]:
    """A server for all processes, which are forked and so know the server."""
    with tempfile.TemporaryDirectory(prefix="wms-proof-") as folder, S3Server(Path(folder) / "s3") as server:
        server.create_bucket("proof")
        _servers.append(server)
        try:
            yield
        finally:
            _servers.remove(server)


PARTS = (
    Part("exif", 4000, 200, _photo),
    Part("masks", 2000, 80, _mask),
    Part("git", 500, 10, _push, around=_store),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Prove the whole, or the parts and seeds named; returns 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="make prove-entrance", description=__doc__)
    names = [part.name for part in PARTS]
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    parser.add_argument("--seeds", nargs="+", type=int, help="these cases only (default: all)")
    arguments = parser.parse_args(argv)
    return prove([part for part in PARTS if part.name in arguments.parts], arguments.seeds)


if __name__ == "__main__":
    sys.exit(run_main(main))
