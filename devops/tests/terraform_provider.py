"""The providers that this project pins, and whence a test's Terraform gets them: a mirror on disk, or the registry."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import isolation
import servers
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version
from terraform_places import REGISTRY, configuration, places, values

from wms.settings import CheckSettings

ROOTS = Path(__file__).resolve().parents[2] / "infrastructure" / "terraform"
LONGEST_ANSWER_S = 10.0
_PINNED = re.compile(r'source\s*=\s*"([^"]+)"\s*version\s*=\s*"([^"]+)"')
_QUESTION = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5).close()"


@dataclass(frozen=True)
class Provider:
    """One that a root module requires, as `hashicorp/aws` and `~> 5.100`."""

    source: str
    version: str

    @property
    def address(self) -> str:
        """The source with its registry: where a mirror has it."""
        return self.source if self.source.count("/") == 2 else f"{REGISTRY}/{self.source}"

    def is_in(self, mirror: Path, platform: str) -> bool:
        """Whether the mirror holds a fitting version for the platform (linux_amd64), unpacked or as an archive."""
        folder = mirror / self.address
        kind = self.source.rpartition("/")[2]
        packed = re.compile(rf"terraform-provider-{re.escape(kind)}_(.+)_{re.escape(platform)}\.zip")
        try:
            for path in folder.iterdir():
                archive = packed.fullmatch(path.name)
                if archive and path.is_file() and self._fits(archive[1]):
                    return True
                if any((path / platform).glob(f"terraform-provider-{kind}*")) and self._fits(path.name):
                    return True
        except OSError:
            return False
        return False

    def _fits(self, version: str) -> bool:
        """Whether it's a version that Terraform takes; its `~>` is Python's `~=`."""
        clauses = re.findall(r"(=|!=|>=?|<=?|~>)?\s*([\w.-]+)", self.version)
        names = {"~>": "~=", "=": "==", "": "=="}
        wanted = SpecifierSet(",".join(names.get(operator, operator) + number for operator, number in clauses))
        try:
            return Version(version) in wanted
        except InvalidVersion:
            return False


def pinned(roots: Path = ROOTS) -> frozenset[Provider]:
    """What the root modules' versions.tf name."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(roots.glob("*/versions.tf"))]
    return frozenset(Provider(*found) for text in texts for found in _PINNED.findall(text))


def source(environ: Mapping[str, str], platform: str, providers: frozenset[Provider]) -> str:
    """The CLI configuration with which Terraform finds the providers.

    Where neither a mirror nor the registry has them the test is skipped, or fails where tools are required.
    """
    for place in places(environ, ROOTS):
        if all(provider.is_in(place, platform) for provider in providers):
            return installation("filesystem_mirror", "path", str(place))
    for text in configuration(environ):
        for url in values(text, "url", block="network_mirror"):
            if all(answers(f"{url.rstrip('/')}/{provider.address}/index.json") for provider in providers):
                return installation("network_mirror", "url", url)
    if not answers(f"https://{REGISTRY}/.well-known/terraform.json"):
        servers.cannot_test(_advice(environ, platform, providers))
    return ""


def installation(kind: str, name: str, value: str) -> str:
    """A CLI configuration that knows one place."""
    return f"provider_installation {{\n  {kind} {{\n    {name} = {json.dumps(value)}\n  }}\n}}\n"


def _advice(environ: Mapping[str, str], platform: str, providers: frozenset[Provider]) -> str:
    wanted = " and ".join(sorted(f"{one.source} {one.version}" for one in providers))
    named = CheckSettings.read(environ).tf_plugin_mirror
    return (
        f"Terraform's provider {wanted} for {platform} lies in no folder of this machine"
        f"{f', not in TF_PLUGIN_MIRROR={named} either,' if named else ''} and {REGISTRY} doesn't answer; go online, or "
        f"set TF_PLUGIN_MIRROR to a folder that `terraform -chdir={ROOTS / 'instance'} providers mirror FOLDER` filled"
    )


def answers(url: str) -> bool:
    """Whether the address answers within seconds; asked once in a test session, whatever number of processes it has."""
    folder = isolation.session_folder()
    if folder is None:
        return _answers_now(url)
    note = folder / f"answers-{re.sub('[^a-z]', '-', url)}"
    if not note.exists():
        draft = note.with_suffix(f".{os.getpid()}")
        draft.write_text("yes" if _answers_now(url) else "no", encoding="utf-8")
        draft.replace(note)  # whole or not at all: another process may look
    return note.read_text(encoding="utf-8") == "yes"


def _answers_now(url: str) -> bool:
    """A process of its own asks: the look-up of a name can hang for minutes, and no time-out of Python's ends it."""
    command = [sys.executable, "-S", "-c", _QUESTION, url]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST_ANSWER_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


@functools.cache
def platform_of(terraform: Path) -> str:
    """The platform that this Terraform asks mirrors for, such as linux_amd64."""
    quiet = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    done = subprocess.run([str(terraform), "version", "-json"], env=quiet, capture_output=True, check=True, timeout=60)
    return str(json.loads(done.stdout)["platform"])


@functools.cache
def source_of_this_machine(terraform: Path) -> str:
    """`source` for this process's own environment, which is looked at once."""
    return source(os.environ, platform_of(terraform), pinned())
