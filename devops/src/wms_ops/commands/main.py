"""`wms`: finds the command named by the arguments, imports its module, and runs the command."""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import tomllib
from collections.abc import Sequence
from typing import Final

from wms.command import Command, nearest
from wms.errors import UsageError, run_main
from wms.paths import ROOT
from wms.start import load
from wms_ops.commands.tree import TREE, Group, Leaf, leaves

_HELP: Final = ("-h", "--help", "help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `wms` as a program; returns the exit code. A failure prints a sentence on standard error."""
    return run_main(run, argv)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command named by `argv`; returns its exit code. Raises UsageError and the command's errors.

    >>> run(["--version"])  # doctest: +SKIP
    wms 1.0.0
    0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["--version"]:
        print(f"wms {version()}")
        return 0
    node, path, rest = find(words)
    if isinstance(node, Group):
        print(help_of(node, path), file=sys.stdout if rest else sys.stderr)
        return 0 if rest else UsageError.exit_code
    command, options = parse(node, path, rest)
    return command.run(options)


def find(words: Sequence[str]) -> tuple[Leaf | Group, list[str], list[str]]:
    """Find the command at the beginning of `words`; returns the command, its path of names, and the remaining words.

    A group is returned if help is requested, or without remaining words if a name is missing; `help` before a name
    requests the help of that name. Raises UsageError for an unknown name, with the nearest known name.

    >>> find(["loop", "list", "--json"])[1:]
    (['wms', 'loop', 'list'], ['--json'])
    """
    node: Leaf | Group = TREE
    path, rest = ["wms"], list(words)
    while isinstance(node, Group):
        if rest and rest[0] in node.members:
            name = rest.pop(0)
            path.append(name)
            node = node.members[name]
        elif rest[:1] == ["help"] and len(rest) > 1:
            rest = [*rest[1:], "--help"]
        elif rest and rest[0] in _HELP:
            return node, path, rest
        elif node.usual and (not rest or rest[0].startswith("-")):
            node = node.members[node.usual]
        elif not rest:
            return node, path, rest
        else:
            here = " ".join(path)
            elsewhere = [f"`{' '.join(found)}`" for found, _ in leaves(node, tuple(path)) if found[-1] == rest[0]]
            hint = f"; there is {' and '.join(elsewhere)}" if elsewhere else nearest(rest[0], list(node.members))
            raise UsageError(f"There is no `{here} {rest[0]}`{hint}; `{here} --help` lists what there is.")
    return node, path, rest


def parse(leaf: Leaf, path: Sequence[str], words: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """Import a command and parse its words; a mistake in them ends the process with 2, as `--help` does with 0."""
    command = command_of(leaf)
    name = " ".join(path)
    return command, command.parser(name, f"{name} {leaf.example}".rstrip()).parse_args(words)


def command_of(leaf: Leaf) -> Command:
    """Import and return a leaf's command."""
    found = load(leaf.entry)
    command: Command = found(leaf.given) if leaf.given else found
    return command


def help_of(group: Group, path: Sequence[str]) -> str:
    """The list of a group's commands."""
    here = " ".join(path)
    width = max(map(len, group.members))
    lines = [f"  {name:{width}}  {member.text}" for name, member in group.members.items()]
    more = f"`{here} COMMAND --help` has an example; exit codes: docs/exit-codes.md."
    return "\n".join([f"usage: {here} COMMAND ...    {group.text}", *lines, more])


def version() -> str:
    """The project's version, also without an installation."""
    try:
        return importlib.metadata.version("water-meter-segmentation")
    except importlib.metadata.PackageNotFoundError:
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        return str(tomllib.loads(text)["project"]["version"])
