"""Pushes of a photo pair through the real hook under generated Git configurations, as many as wanted.

`python devops/tests/fuzz_git_config.py COUNT [FIRST]` prints a line for each configuration; tests take a few of them.
"""

from __future__ import annotations

import random
import shutil
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("WMS/src", "devops/src", "WMS/tests", "devops/tests")]

from workshop import INBOX, Workshop, leftovers, said  # noqa: E402

SWITCHES: Final = ("true", "false")
# Names and values as people have them; {home} is the user's folder, {clone} the clone, {url} the origin.
SETTINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "author.email": ("author@example.org",),
    "branch.autoSetupRebase": ("always", "never"),
    "branch.main.pushRemote": ("origin",),
    "checkout.defaultRemote": ("origin", "upstream"),
    "clone.defaultRemoteName": ("upstream",),
    "color.diff": ("always", "never"),
    "color.push": ("always",),
    "color.ui": ("always", "auto", "false"),
    "column.ui": ("always", "auto dense"),
    "commit.cleanup": ("scissors", "verbatim"),
    "commit.gpgSign": SWITCHES,
    "commit.template": ("{home}/nothing",),
    "commit.verbose": SWITCHES,
    "core.abbrev": ("4", "40", "auto"),
    "core.askPass": ("/bin/false",),
    "core.attributesFile": ("{home}/attributes",),
    "core.autocrlf": ("true", "input"),
    "core.bigFileThreshold": ("1", "1g"),
    "core.checkStat": ("minimal",),
    "core.commentChar": ("D", ";", "auto"),
    "core.commitGraph": SWITCHES,
    "core.compression": ("0", "9"),
    "core.editor": ("/bin/false", "code --wait"),
    "core.eol": ("crlf", "lf"),
    "core.excludesFile": ("{home}/ignored",),
    "core.fileMode": SWITCHES,
    "core.fsmonitor": ("true", "/nothing/fsmonitor"),
    "core.hooksPath": ("{clone}/.git/hooks",),
    "core.ignoreCase": SWITCHES,
    "core.logAllRefUpdates": ("always", "false"),
    "core.multiPackIndex": SWITCHES,
    "core.pager": ("less -R", "false", ""),
    "core.precomposeUnicode": SWITCHES,
    "core.preloadIndex": SWITCHES,
    "core.quotePath": SWITCHES,
    "core.safecrlf": ("true", "warn"),
    "core.sharedRepository": ("group", "0660"),
    "core.sparseCheckout": SWITCHES,
    "core.splitIndex": SWITCHES,
    "core.sshCommand": ("/bin/false",),
    "core.symlinks": SWITCHES,
    "core.trustctime": SWITCHES,
    "core.untrackedCache": ("true", "keep"),
    "core.warnAmbiguousRefs": SWITCHES,
    "credential.helper": ("", "store", "!false", "cache --timeout=1"),
    "diff.algorithm": ("histogram",),
    "diff.external": ("false",),
    "diff.mnemonicPrefix": SWITCHES,
    "diff.noprefix": SWITCHES,
    "diff.orderFile": ("{home}/order",),
    "diff.relative": SWITCHES,
    "diff.renames": ("copies", "false"),
    "diff.submodule": ("log",),
    "feature.experimental": SWITCHES,
    "feature.manyFiles": SWITCHES,
    "fetch.fsckObjects": SWITCHES,
    "fetch.negotiationAlgorithm": ("skipping", "noop"),
    "fetch.output": ("compact",),
    "fetch.parallel": ("0", "4"),
    "fetch.prune": SWITCHES,
    "fetch.pruneTags": SWITCHES,
    "fetch.recurseSubmodules": ("on-demand",),
    "fetch.unpackLimit": ("1",),
    "fetch.writeCommitGraph": SWITCHES,
    "format.pretty": ("oneline", "%H %s"),
    "gc.auto": ("1", "0"),
    "gc.autoDetach": SWITCHES,
    "gpg.format": ("ssh", "x509"),
    "gpg.program": ("/bin/false",),
    "grep.patternType": ("perl",),
    "http.extraHeader": ("", "X-A: 1", "X-B: 2"),
    "http.proxy": ("http://127.0.0.1:1",),
    "http.sslVerify": SWITCHES,
    "i18n.commitEncoding": ("ISO-8859-1",),
    "i18n.logOutputEncoding": ("ISO-8859-1",),
    "index.threads": ("true", "1"),
    "index.version": ("2", "4"),
    "init.defaultBranch": ("trunk", "master"),
    "init.templateDir": ("{home}/templates",),
    "log.decorate": ("full",),
    "log.showRoot": SWITCHES,
    "log.showSignature": SWITCHES,
    "maintenance.auto": SWITCHES,
    "merge.conflictStyle": ("zdiff3",),
    "merge.ff": ("only", "false"),
    "merge.renames": SWITCHES,
    "pack.threads": ("1",),
    "pack.window": ("0",),
    "pack.writeReverseIndex": SWITCHES,
    "protocol.version": ("0", "1", "2"),
    "pull.rebase": ("true", "merges"),
    "push.autoSetupRemote": SWITCHES,
    "push.default": ("matching", "nothing", "current", "upstream"),
    "push.followTags": SWITCHES,
    "push.gpgSign": ("if-asked", "false"),
    "push.negotiate": SWITCHES,
    "push.recurseSubmodules": ("check", "on-demand"),
    "push.useForceIfIncludes": SWITCHES,
    "rebase.autoStash": SWITCHES,
    "remote.origin.prune": SWITCHES,
    "remote.pushDefault": ("origin",),
    "rerere.enabled": SWITCHES,
    "safe.bareRepository": ("explicit", "all"),
    "safe.directory": ("*", "", "*"),
    "status.short": SWITCHES,
    "status.showUntrackedFiles": ("all", "no"),
    "submodule.recurse": SWITCHES,
    "tag.gpgSign": SWITCHES,
    "transfer.fsckObjects": SWITCHES,
    "transfer.unpackLimit": ("1",),
    "trailer.separators": ("=",),
    "url.file:///nowhere/.insteadOf": ("company:", "firm:"),
    "url.{url}.insteadOf": ("gh:wms", "hub:wms"),
    "url.{url}.pushInsteadOf": ("https://example.org/wms",),
    "user.email": ("ada@private.example.org",),
    "user.signingKey": ("{home}/key",),
    "user.useConfigOnly": SWITCHES,
}
ENVIRON: Final[Mapping[str, str]] = {
    "GIT_ADVICE": "0",
    "GIT_ASKPASS": "/bin/false",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_DEFAULT_HASH": "sha256",
    "GIT_DIFF_OPTS": "--unified=0",
    "GIT_EDITOR": "/bin/false",
    "GIT_EXTERNAL_DIFF": "false",
    "GIT_FLUSH": "1",
    "GIT_ICASE_PATHSPECS": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_MERGE_VERBOSITY": "5",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "less",
    "GIT_SSH_COMMAND": "/bin/false",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_TRACE": "1",
    "LANG": "de_DE.UTF-8",
    "LC_ALL": "C",
    "LANGUAGE": "pl",
}
ONCE: Final = ("core.hooksPath",)
_LEVELS: Final = ("system", "global", "local", "worktree", "included", "command line", "environment")


@dataclass
class Configuration:
    """Settings of one user: (level, name, value) in the order in which they were made, variables, kind of push."""

    seed: int
    settings: list[tuple[str, str, str]] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)
    push: tuple[str, ...] = ("push", "origin", "main")

    def __str__(self) -> str:
        told = [f"{level}: {name}={value}" for level, name, value in self.settings]
        return ", ".join([f"seed {self.seed}", " ".join(self.push), *told, *self.environ])


def git_configuration(seed: int) -> Configuration:
    """The configuration of a seed: always the same."""
    chance = random.Random(seed)
    made = Configuration(seed)
    for name in chance.sample(sorted(SETTINGS), chance.randint(3, 25)):
        for _ in range(1 if name in ONCE else chance.choice((1, 1, 1, 2, 3))):
            made.settings.append((chance.choice(_LEVELS), name, chance.choice(SETTINGS[name])))
    for name in chance.sample(sorted(ENVIRON), chance.choice((0, 0, 1, 3))):
        made.environ[name] = ENVIRON[name]
    made.push = chance.choice(
        (
            *(("push", "origin", "main"),) * 4,
            ("push", "origin", "HEAD:main"),
            ("push", "--force", "origin", "main"),
            ("push", "--all", "origin"),
            ("push", "--follow-tags", "origin", "main"),
            ("publish",),  # an alias
            ("push", "--atomic", "--quiet", "origin", "main:main"),
        )
    )
    return made


def push_under(shop: Workshop, made: Configuration) -> str:
    """Push a pair under a configuration; returns the result in words. AssertionError for anything that isn't right.

    The data branch must hold exactly the pair, main must stay, nothing may be left over, no traceback may be shown;
    where git itself refuses to push with such settings, nothing at all may happen.
    """
    name = f"c{made.seed}-{uuid.uuid4().hex[:6]}"
    template, clone, home = shop.folder / "template", shop.folder / name, shop.folder / f"home {name}"
    shutil.copytree(template if template.exists() else shop.clone("template"), clone, symlinks=True)
    stems = shop.photos(clone, 1, seed=made.seed + 1, prefix=f"p{made.seed}")
    commit = shop.commit(clone)
    before = shop.branches()
    words, environ = _apply(shop, clone, home, made)
    done = shop.run("git", *words, *made.push, where=clone, check=False, **environ)
    try:
        _check(shop, clone, done.returncode, said(done), before)
        if shop.branches() == before:
            plain = ("push", "--dry-run", "--no-verify", *made.push[1:]) if made.push[0] == "push" else ("publish",)
            alone = shop.run("git", *words, *plain, where=clone, check=False, **environ)
            assert alone.returncode != 0, said(done)  # else git would push, and it is the hook that refuses
            return "git itself refuses"
        (branch,) = shop.branches().keys() - before.keys()
        assert sorted(shop.version(branch).pairs) == stems
        shop.assert_complete()
        kept = shop.run("git", "rev-parse", "HEAD", where=clone).stdout.strip()
        assert kept == commit and all((clone / INBOX / "images" / f"{stem}.jpg").is_file() for stem in stems)
        return "a data branch with the pair"
    finally:
        for branch in shop.branches().keys() - before.keys():
            shop.run("git", "update-ref", "-d", f"refs/heads/{branch}", where=shop.origin)
        shutil.rmtree(clone, ignore_errors=True)


def _check(shop: Workshop, clone: Path, code: int, told: str, before: Mapping[str, str]) -> None:
    assert "Traceback" not in told, told
    assert code != 0, told  # no photo may lie in Git, so each of these pushes is stopped
    after = shop.branches()
    assert after.get("main") == before["main"], told
    assert len(after) - len(before) in (0, 1), told
    assert not leftovers([clone]), told


def _apply(shop: Workshop, clone: Path, home: Path, made: Configuration) -> tuple[list[str], dict[str, str]]:
    """Write the settings to their files; returns words of the command line and variables."""
    home.mkdir()
    for name, text in {"attributes": "*.jpg -diff\n", "ignored": "*.jpg\n", "order": "*.md\n"}.items():
        (home / name).write_text(text, encoding="utf-8")
    (home / "templates/hooks").mkdir(parents=True)
    files = {level: home / level for level in ("system", "global", "included")}
    plain = {"GIT_CONFIG_GLOBAL": "/dev/null"}
    pairs, words = [("alias.publish", "push origin main")], list[str]()
    shop.run("git", "config", "--file", files["system"], "include.path", files["included"], where=clone, **plain)
    shop.run("git", "config", "extensions.worktreeConfig", "true", where=clone, **plain)
    for level, name, value in made.settings:
        place = {"home": str(home), "clone": str(clone), "url": f"file://{shop.origin}"}
        key, text = name.format(**place), value.format(**place)
        if level == "command line":
            words += ["-c", f"{key}={text}"]
        elif level == "environment":
            pairs.append((key, text))
        else:
            where = ["--file", files[level]] if level in files else [f"--{level}"]
            shop.run("git", "config", *where, "--add", key, text, where=clone, **plain)
    environ = {"GIT_CONFIG_SYSTEM": str(files["system"]), "GIT_CONFIG_GLOBAL": str(files["global"])}
    environ |= {"GIT_CONFIG_NOSYSTEM": "0", "GIT_CONFIG_COUNT": str(len(pairs)), **made.environ}
    for number, (key, text) in enumerate(pairs):
        environ |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": text}
    return words, environ
