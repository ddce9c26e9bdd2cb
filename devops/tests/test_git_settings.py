"""Whatever a person has set up in git for themselves: the data path sees, says and does the same."""

from __future__ import annotations

import ast
from pathlib import Path

from workshop import ROOT, Workshop, said

from wms_ops.git.command import Git
from wms_ops.git.trailers import trailers, trailers_of, with_trailers

SOURCES = [
    path for part in ("WMS/src", "WMS/scripts", "devops/src", "devops/scripts") for path in (ROOT / part).rglob("*.py")
]
# The wrapper itself.
MAY = {ROOT / "WMS/src/wms/git.py", ROOT / "devops/src/wms_ops/git/command.py"}

HOSTILE = """
[user]
    name = Ada
    email = ada@example.org
    signingKey = {home}/key
[gpg]
    format = ssh
[gpg "ssh"]
    allowedSignersFile = {home}/signers
[commit]
    gpgSign = true
    verbose = true
    cleanup = strip
    template = {home}/template
[tag]
    gpgSign = true
    forceSignAnnotated = true
[log]
    showSignature = true
    showRoot = false
    diffMerges = first-parent
    decorate = full
    abbrevCommit = true
    mailmap = true
    follow = true
[format]
    pretty = fuller
[color]
    ui = always
    diff = always
    status = always
    push = always
    remote = always
    transport = always
    advice = always
[column]
    ui = always
[core]
    quotePath = true
    pager = false
    fsmonitor = /nowhere/fsmonitor
    attributesFile = {home}/attributes
    autocrlf = true
    safecrlf = warn
    commentChar = D
    hooksPath = {home}/hooks
[diff]
    external = false
    noprefix = true
    mnemonicPrefix = true
    relative = true
    renames = copies
    orderFile = {home}/order
    ignoreSubmodules = all
[diff "reader"]
    textconv = false
[merge]
    renames = false
    directoryRenames = true
    renormalize = true
    autoStash = true
[merge "loud"]
    driver = false
[status]
    short = true
    branch = true
    showUntrackedFiles = all
    submoduleSummary = true
[push]
    followTags = true
    recurseSubmodules = on-demand
    useForceIfIncludes = true
    default = matching
[fetch]
    prune = true
    pruneTags = true
    recurseSubmodules = on-demand
[submodule]
    recurse = true
[i18n]
    logOutputEncoding = ISO-8859-1
    commitEncoding = ISO-8859-1
[init]
    defaultBranch = trunk
    templateDir = {home}/templates
[clone]
    defaultRemoteName = upstream
[grep]
    patternType = perl
[trailer]
    separators = "="
    ifexists = doNothing
    ifmissing = doNothing
[trailer "Data-Source"]
    key = "Source= "
[trailer "sign"]
    key = "Data-Removed: "
    ifmissing = add
    cmd = "echo 99"
"""


def hostile(shop: Workshop) -> None:
    """Give the shop's person a global configuration of that kind, with hooks that fail, and keys to sign with."""
    home = shop.folder / "home"
    shop.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "key", where=home)
    (home / "signers").write_text(f"ada@example.org {(home / 'key.pub').read_text()}")
    (home / "attributes").write_text("*.dvc diff=reader merge=loud\n* text=auto\n")
    (home / "order").write_text("WMS/*\n")
    (home / "template").write_text("# Why?\n")
    for folder in ("hooks", "templates/hooks"):
        for name in ("prepare-commit-msg", "commit-msg", "pre-commit", "post-checkout", "post-commit"):
            shop.write(home, f"{folder}/{name}", "#!/bin/sh\nexit 1\n")
            (home / folder / name).chmod(0o755)
    (home / ".gitconfig").write_text(HOSTILE.format(home=home))


def unhooked(shop: Workshop, clone: Path) -> None:
    """The clone's own hooks folder counts again, for the person who has set another one for all."""
    shop.run("git", "config", "core.hooksPath", clone / ".git/hooks", where=clone)


def test_the_shrink_guard_sees_the_same_with_signatures_shown(shop: Workshop) -> None:
    """A signature's text among the trailers once passed for "Data-Removed"."""
    clone = shop.clone()
    stems = shop.photos(clone, 4)
    shop.commit(clone)
    shop.push(clone)
    shop.merge(shop.data_branches()[0])
    other = shop.clone("other")
    hostile(shop)
    unhooked(shop, other)
    folder = other / "WMS/data/dataset/images"
    folder.mkdir()
    (folder / "one.png").write_bytes((clone / "WMS/data/training/images" / f"{stems[0]}.jpg").read_bytes())
    shop.run("dvc", "add", "--quiet", "WMS/data/dataset/images", where=other)
    shop.commit(other, "Signed")
    assert b"gpgsig" in Git(other).raw("cat-file", "commit", "HEAD")
    main = shop.branches()["main"]
    done = shop.push(other)
    assert done.returncode == 1
    assert "Nothing was pushed to main" in said(done)
    assert shop.branches()["main"] == main


def test_photos_of_a_first_commit_are_seen(shop: Workshop) -> None:
    """`log.showRoot=false` hides what a commit without parents adds."""
    clone = shop.clone()
    main = shop.branches()["main"]
    shop.run("git", "checkout", "--quiet", "--orphan", "anew", where=clone)
    shop.photos(clone)
    shop.commit(clone)
    hostile(shop)
    unhooked(shop, clone)
    assert shop.push(clone, "--force", "origin", "HEAD:main").returncode == 1
    assert shop.branches()["main"] == main


def test_the_data_path_in_a_hostile_configuration(shop: Workshop) -> None:
    """Push, join, remove, verify and fetch: with every setting on that changes what git says or does."""
    hostile(shop)
    one, two = shop.folder / "one", shop.folder / "two"
    plain = {"GIT_CONFIG_GLOBAL": "/dev/null"}
    for clone in (one, two):
        shop.run("git", "clone", "--quiet", f"file://{shop.origin}", clone, where=shop.folder, **plain)
        unhooked(shop, clone)
        shop.run("devops/scripts/install-git-hooks.sh", where=clone)
    for seed, clone in enumerate((one, two), 1):
        shop.photos(clone, 2, seed=seed)
        shop.commit(clone, "Neue Fotos, grün")
        done = shop.push(clone, "origin", "main")
        assert "Existing: 0, new: 2, total: 2" in said(done)
    again = shop.push(one, "origin", "main")
    assert "already" in said(again)
    first, second = sorted(shop.data_branches())
    shop.run("python", "-m", "wms_ops", "data", "take-back", where=two)
    assert shop.run("git", "rev-parse", "HEAD", where=two).stdout.strip() == shop.branches()["main"]
    shop.extra["GIT_CONFIG_GLOBAL"] = "/dev/null"
    shop.merge(first)
    del shop.extra["GIT_CONFIG_GLOBAL"]
    dataset = ("python", "-m", "wms_ops", "data")
    assert "4 in all" in shop.run(*dataset, "join", second, where=one).stdout
    assert "4 photos before, 3 after" not in said(shop.run(*dataset, "remove", "s1_0", where=one))
    (removal,) = [name for name in shop.data_branches() if name.endswith("-remove")]
    assert trailers_of(Git(shop.origin), removal)["data-removed"] == ["1"]
    shop.run("git", "fetch", "--quiet", where=two)
    assert "4 photos" in shop.run(*dataset, "verify", f"origin/{second}", "--base", "origin/main", where=two).stdout
    assert "1 photo" in shop.run(*dataset, "verify", f"origin/{removal}", "--base", "origin/main", where=two).stdout
    shop.assert_complete()


def test_replaced_objects_hide_nothing(shop: Workshop) -> None:
    clone = shop.clone()
    shop.photos(clone)
    commit = shop.commit(clone)
    plain = shop.run("git", "commit-tree", "HEAD^^{tree}", "-p", "HEAD^", "-m", "No photos", where=clone).stdout.strip()
    shop.run("git", "replace", commit, plain, where=clone)
    main = shop.branches()["main"]
    assert shop.push(clone).returncode == 1
    assert shop.branches()["main"] == main


def test_trailers_are_the_last_paragraph_only() -> None:
    assert trailers("Title\n\nData-Removed: 1\n\nText.\n") == {}
    assert trailers("Data-Removed: 1\n") == {}
    assert trailers("Title\n\nText with\nData-Removed: 1\n") == {}
    told = trailers("Title\n\nText.\n\nData-Removed: 1\n and more\ndata-removed:2\nSigned-off-by: Ada <a@b.c>\n")
    assert told == {"data-removed": ["1 and more", "2"], "signed-off-by": ["Ada <a@b.c>"]}
    text = with_trailers("Title\n\nText.\n\nPull-Request: 9\n  9\nOther: x\n", {"Pull-Request": "1"})
    assert text == "Title\n\nText.\n\nOther: x\nPull-Request: 1\n"
    assert with_trailers("Title\n", {"A": "1"}) == "Title\n\nA: 1\n"


def test_every_git_command_goes_through_the_wrapper() -> None:
    """A list that begins with "git" is a command line of its own: elsewhere nobody's settings are kept out."""
    found = []
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            items = node.elts if isinstance(node, ast.List | ast.Tuple) else []
            if items and isinstance(items[0], ast.Constant) and items[0].value == "git" and path not in MAY:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
            porcelain = isinstance(node, ast.Constant) and str(node.value) in ("interpret-trailers", "log", "show")
            if porcelain and path.is_relative_to(ROOT / "devops/src") and _is_argument(tree, node):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} asks `git {node.value}`")
    assert found == []


def _is_argument(tree: ast.Module, constant: ast.Constant) -> bool:
    """Whether it's the first argument of a call of something named like a repository."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args[:1] == [constant])
    return any("git" in ast.unparse(call.func).lower() for call in calls)
