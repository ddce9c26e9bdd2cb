"""Pushes of photos by people whose Git is set up in their own way: each setting counts as git itself counts it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from entrance_table import WORKS, Row
from git_over_http import GitOverHttp
from workshop import INBOX, Workshop, said

pytestmark = pytest.mark.slice("settings of a push", of=2)

PART = "pushes"


def config(shop: Workshop, clone: Path, *words: str) -> None:
    shop.run("git", "config", *words, where=clone)


def photos(shop: Workshop, name: str = "clone", **of_photos: int) -> Path:
    """A clone with a commit of three photos and their masks."""
    clone = shop.clone(name)
    shop.photos(clone, **of_photos)
    shop.commit(clone)
    return clone


def author(shop: Workshop, branch: str) -> str:
    form = "--format=%an <%ae> %cn <%ce>"
    return shop.run("git", "log", "-1", form, branch, where=shop.origin).stdout.strip()


@pytest.mark.parametrize("scope", ["global", "command line", "environment"])
def test_bare_repositories_may_need_to_be_named(shop: Workshop, scope: str, entrance: Row) -> None:
    clone = photos(shop)
    words, more = ["git"], {}
    if scope == "global":
        config(shop, clone, "--global", "safe.bareRepository", "explicit")
    elif scope == "command line":
        words += ["-c", "safe.bareRepository=explicit"]
    else:
        more = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.bareRepository", "GIT_CONFIG_VALUE_0": "explicit"}
    done = shop.run(*words, "push", "origin", "main", where=clone, check=False, **more)
    assert "Existing: 0, new: 3, total: 3" in said(done), said(done)
    (shop.folder / "home" / ".gitconfig").unlink(missing_ok=True)  # this test itself finds bare repositories
    shop.assert_complete()
    entrance(PART, f"safe.bareRepository=explicit ({scope})", "3 pairs on a data branch", WORKS)


@pytest.mark.parametrize("way", ["extraHeader twice", "extraHeader of the address", "reset and again", "insteadOf"])
def test_settings_of_several_values_are_kept_in_order(shop: Workshop, way: str, entrance: Row) -> None:
    """The server wants two headers; a single one is answered with 403."""
    clone = photos(shop)
    with GitOverHttp(shop.folder, ("X-One: 1", "X-Two: 2")) as server:
        url = f"{server.url}/origin.git"
        config(shop, clone, "remote.origin.url", url)
        key = f"http.{server.url}.extraHeader" if way == "extraHeader of the address" else "http.extraHeader"
        if way == "reset and again":
            config(shop, clone, "--global", "http.extraHeader", "Authorization: of another company")
            config(shop, clone, "--add", key, "X-One: 0")
            config(shop, clone, "--add", key, "")
        config(shop, clone, "--add", key, "X-One: 1")
        config(shop, clone, "--add", key, "X-Two: 2")
        if way == "insteadOf":
            config(shop, clone, "--add", f"url.{server.url}/.insteadOf", "company:")
            config(shop, clone, "--add", f"url.{server.url}/.insteadOf", "firm:")
            config(shop, clone, "remote.origin.url", "company:origin.git")
        done = shop.push(clone)
        assert "Existing: 0, new: 3, total: 3" in said(done), said(done)
        if way == "reset and again":
            assert not any("Authorization" in headers for headers in server.requests)
    entrance(PART, f"two headers for a company's server ({way})", "both are sent, the push works", WORKS)


def test_an_address_on_the_command_line_is_rewritten_as_git_does(shop: Workshop, entrance: Row) -> None:
    clone = photos(shop)
    config(shop, clone, f"url.file://{shop.origin}.insteadOf", "company:meters")
    merge = (sys.executable, "-m", "wms_ops", "data", "merge", "--remote", "company:meters")
    done = shop.run(*merge, where=clone, check=False)
    assert done.returncode == 0 and "The photos are on branch data/" in said(done), said(done)
    entrance(PART, "wms data merge --remote company:meters, which insteadOf rewrites", "reaches the origin", WORKS)


def test_an_emptied_list_of_credential_helpers_stays_empty(shop: Workshop, entrance: Row) -> None:
    clone = photos(shop)
    helper = '!f() { test "$1" = get && echo password=right && echo username=me; }; f'
    with GitOverHttp(shop.folder, (), opens="right") as server:
        config(shop, clone, "remote.origin.url", f"{server.url}/origin.git")
        config(shop, clone, "--global", "credential.helper", helper.replace("right", "wrong"))
        for value in ("", helper):
            config(shop, clone, "--add", "credential.helper", value)
        done = shop.push(clone, GIT_TERMINAL_PROMPT="0")
        assert "Existing: 0, new: 3, total: 3" in said(done), said(done)
    entrance(PART, "credential.helper= (reset), then another helper", "only the clone's own helper is asked", WORKS)


@pytest.mark.parametrize("condition", ["hasconfig:remote.*.url:**/origin.git", "gitdir", "worktree"])
def test_the_data_branch_has_the_clone_s_own_identity(shop: Workshop, condition: str, entrance: Row) -> None:
    clone = photos(shop)
    work = shop.folder / "home" / "work.config"
    config(shop, clone, "--global", "user.name", "Ada at home")
    config(shop, clone, "--global", "user.email", "ada@private.example.org")
    config(shop, clone, "--file", str(work), "user.name", "Ada at work")
    config(shop, clone, "--file", str(work), "user.email", "ada@work.example.org")
    if condition == "worktree":
        config(shop, clone, "extensions.worktreeConfig", "true")
        config(shop, clone, "--worktree", "include.path", str(work))
    else:
        condition = f"gitdir:{clone}/.git" if condition == "gitdir" else condition
        config(shop, clone, "--global", f"includeIf.{condition}.path", str(work))
    unnamed = [f"--unset=GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    done = shop.run("env", *unnamed, "git", "push", "origin", "main", where=clone, check=False)
    assert "Existing: 0, new: 3" in said(done), said(done)
    (branch,) = shop.data_branches()
    me = "Ada at work <ada@work.example.org>"
    # Its author is that of the pushed commit.
    assert author(shop, branch) == f"Ada <ada@example.org> {me}"
    entrance(PART, f"identity by includeIf {condition.partition(':')[0]}", f"the data branch is by {me}", WORKS)


def test_a_remote_may_be_a_path_from_the_work_tree(shop: Workshop, entrance: Row) -> None:
    clone = photos(shop)
    config(shop, clone, "remote.origin.url", os.path.relpath(shop.origin, clone))
    assert "Existing: 0, new: 3, total: 3" in said(shop.push(clone))
    shop.run("python", "-m", "wms_ops", "data", "take-back", where=clone)
    assert not list((clone / INBOX / "images").glob("*.jpg"))
    entrance(PART, "a remote such as ../origin.git", "the photos are pushed, and taken back", WORKS)
