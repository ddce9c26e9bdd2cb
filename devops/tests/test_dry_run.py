"""`git push --dry-run` changes nothing: not at the origin, not in the bucket, not in the clone."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from workshop import INBOX, Workshop, said

from wms_ops.hook.dry_run import asks_for_dry_run, of_push

pytestmark = pytest.mark.slice("pushes that are tried", of=2)


def everything(shop: Workshop, clone: Path) -> tuple[str, list[str], dict[str, str]]:
    """All bytes of the clone, Git's own folder too, the bucket's objects, and the origin's branches."""
    digest = hashlib.sha256()
    for path in sorted(clone.rglob("*")):
        digest.update(f"{path.relative_to(clone)}\0".encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    found = shop.s3.client().list_objects_v2(Bucket=shop.config.bucket, Prefix=shop.config.prefix)
    return digest.hexdigest(), [item["Key"] for item in found.get("Contents", ())], shop.branches()


WAYS = {
    "--dry-run": ("push", "--dry-run", "origin", "main"),
    "-n": ("push", "-n", "origin", "main"),
    "among other letters": ("push", "-vun", "origin", "main"),
    "shortened, at the end": ("push", "origin", "main", "--dry"),
    "behind git's own options": (
        "-c",
        "push.default=simple",
        "-C",
        ".",
        "push",
        "--no-dry-run",
        "-n",
        "origin",
        "main",
    ),
    "an alias": ("try", "origin", "main"),
    "an alias of an alias": ("again", "-v", "origin", "main"),
    "an alias by the shell": ("shout", "origin", "main"),
}


def test_nothing_is_changed_however_it_is_said(shop: Workshop) -> None:
    clone = shop.clone()
    for name, text in (("try", "push --dry-run"), ("again", "try -4"), ("shout", "!git push -n")):
        shop.run("git", "config", f"alias.{name}", text, where=clone)
    shop.photos(clone)
    shop.commit(clone)
    before = everything(shop, clone)
    for way, command in WAYS.items():
        done = shop.run("git", *command, where=clone, check=False)
        assert done.returncode == 1, way
        assert "dry run: 3 photos with their masks would be checked" in said(done), said(done)
        assert "nothing was changed" in said(done)
        assert everything(shop, clone) == before, way
    # The last word counts.
    done = shop.run("git", "push", "-n", "--no-dry-run", "origin", "main", where=clone, check=False)
    assert "Existing: 0, new: 3" in said(done)
    assert len(shop.data_branches()) == 1


def test_what_would_be_refused_is_refused(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    next((clone / INBOX / "masks").iterdir()).unlink()
    shop.commit(clone)
    before = everything(shop, clone)
    for target, words in (("main", "has no partner"), ("HEAD:topic", "belong into the data set")):
        done = shop.push(clone, "--dry-run", "origin", target)
        assert done.returncode == 1
        assert words in said(done)
        assert "dry run: the push would be stopped; nothing was changed." in said(done)
    assert everything(shop, clone) == before
    shop.run("git", "reset", "--quiet", "--hard", "origin/main", where=clone)
    shop.write(clone, "x.txt", "x\n")
    shop.commit(clone, "x")
    assert shop.push(clone, "--dry-run", "origin", "main").returncode == 0


def test_where_gits_command_line_cannot_be_seen_nothing_is_done(shop: Workshop) -> None:
    """As on a system that shows no other processes: the hook is run by something that isn't `git push`."""
    clone = shop.clone()
    shop.photos(clone)
    commit = shop.commit(clone)
    main = shop.branches()["main"]
    line = f"refs/heads/main {commit} refs/heads/main {main}"
    hook = f"echo '{line}' | sh hooks/pre-push origin 'file://{shop.origin}'"
    before = everything(shop, clone)
    done = shop.run("sh", "-c", hook, where=clone, check=False)
    assert done.returncode != 0
    assert "can't see whether this is `git push --dry-run`, so it did nothing" in said(done)
    assert everything(shop, clone) == before
    said_so = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "wms.dryRun", "GIT_CONFIG_VALUE_0": "true"}
    assert "dry run: 3 photos" in said(shop.run("sh", "-c", hook, where=clone, check=False, **said_so))
    said_so["GIT_CONFIG_VALUE_0"] = "false"
    assert "Existing: 0, new: 3" in said(shop.run("sh", "-c", hook, where=clone, check=False, **said_so))


@pytest.mark.parametrize(
    ("arguments", "dry"),
    [
        ("origin main", False),
        ("-n", True),
        ("-fnu origin", True),
        ("-on origin", False),
        ("-o n origin", False),
        ("-o -n origin", False),
        ("-vo x -n", True),
        ("--push-option -n origin", False),
        ("--push-option=x -n", True),
        ("--repo -n", False),
        ("--dr", True),
        ("--delete origin", False),
        ("--dry-run --no-dry-run", False),
        ("--no-dry --dry-run", True),
        ("-- -n", False),
        ("--force-with-lease -n", True),
        ("--no-verify origin", False),
    ],
)
def test_the_options_of_a_push(arguments: str, dry: bool) -> None:
    assert asks_for_dry_run(arguments.split()) is dry


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("git push -n", ["-n"]),
        ("/usr/lib/git-core/git push", []),
        (r"C:\Git\bin\git.exe -c a.b=c -C push push x", ["x"]),
        ("git --no-pager --git-dir=x push x", ["x"]),
        ("git-push x", ["x"]),
        ("git commit push", None),
        ("sh push", None),
        ("", None),
    ],
)
def test_the_command_line_of_a_push(line: str, found: list[str] | None) -> None:
    assert of_push(line.split()) == found
