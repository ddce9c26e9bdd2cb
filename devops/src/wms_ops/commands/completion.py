"""`wms completion`: a script for bash or zsh that completes groups, commands and options without starting Python."""

from __future__ import annotations

import argparse
from typing import Final

from wms.command import Command, Parser
from wms_ops.commands.main import command_of
from wms_ops.commands.tree import TREE, Group, Leaf

SHELLS: Final = ("bash", "zsh")


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the name of the shell."""
    parser.add_argument("shell", choices=SHELLS, help='for bash: eval "$(wms completion bash)" in ~/.bashrc')


def run(options: argparse.Namespace) -> int:
    """Print the script; returns 0."""
    import shtab

    print(shtab.complete(whole_parser(), shell=options.shell))  # nosec B604 - the name of a shell; none is started
    return 0


def whole_parser() -> argparse.ArgumentParser:
    """All commands in a single parser; this imports every module, which only completion does."""
    parser = Parser(prog="wms", description=TREE.text)
    parser.add_argument("--version", action="store_true", help="print the version")
    _fill(parser, TREE)
    return parser


def _fill(parser: argparse.ArgumentParser, group: Group) -> None:
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, member in group.members.items():
        below = commands.add_parser(name, help=member.text, description=member.text)
        if isinstance(member, Group):
            usual = member.members.get(member.usual)
            if isinstance(usual, Leaf):  # its options may follow the group's name
                command_of(usual).declare(below)
            _fill(below, member)
        else:
            command_of(member).declare(below)


COMMAND: Final = Command("Print the script that completes `wms` in bash or zsh.", declare, run)
