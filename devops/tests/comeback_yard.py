"""A blocked data branch whose photos are to come back, for the tests of `wms data take-back BRANCH`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from workshop import INBOX, Workshop, said

from wms_ops.git.command import Git
from wms_ops.pulls.local_pulls import LocalPulls

PART = "take-back"
GATE = b"<html>the gate's page</html>"


def wms(shop: Workshop, clone: Path, *arguments: str, code: int | None = 0, **more: str) -> str:
    done = shop.run("python", "-m", "wms_ops", *arguments, where=clone, check=False, **more)
    assert code is None or done.returncode == code, said(done)
    assert "Traceback" not in said(done)
    return said(done)


def take_back(shop: Workshop, clone: Path, *arguments: str, code: int | None = 0, **more: str) -> str:
    return wms(shop, clone, "data", "take-back", *arguments, code=code, **more)


def files(clone: Path) -> dict[str, bytes]:
    found = (path for path in (clone / INBOX).rglob("*") if path.is_file())
    return {path.relative_to(clone / INBOX).as_posix(): path.read_bytes() for path in found}


def published(shop: Workshop, **environ: str) -> tuple[Path, str, dict[str, bytes]]:
    """A clone whose photos went to a data branch and out of its commits; the branch, and the photos as they were."""
    clone = shop.clone()
    shop.photos(clone)
    before = files(clone)
    shop.commit(clone)
    shop.push(clone, **environ)
    (branch,) = shop.data_branches()
    return clone, branch, before


def blocked(shop: Workshop, clone: Path, branch: str) -> LocalPulls:
    """The branch's pull request in the origin, as the loop leaves a blocked one: with the gate's page."""
    pulls = LocalPulls(Git(clone, {"user.name": "Loop", "user.email": "loop@example.org"}), f"file://{shop.origin}")
    pull = pulls.open(branch, "Blocked: 3 new photos", "Worse.")
    pulls.update(pull, "Worse.", {"gate.html": GATE, "pictures/a.png": b"PNG"})
    pulls.block(pull, "Dice 0.7 is below 0.9.")
    return pulls


def mend(clone: Path, name: str = "s1_0") -> None:
    """Draw another mask for a photo."""
    path = clone / INBOX / "masks" / f"{name}.png"
    with Image.open(path) as mask:
        moved = Image.new("L", mask.size)
        moved.paste(255, (8, 30, mask.width - 8, 48))
    moved.save(path)


def show(shop: Workshop, path: str) -> str:
    return shop.run("git", "show", f"pull-requests:{path}", where=shop.origin).stdout
