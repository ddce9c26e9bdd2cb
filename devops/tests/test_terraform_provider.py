"""Whence a test's Terraform has its provider: what Terraform itself takes, found in order, or a skip that helps."""

from __future__ import annotations

import contextlib
import json
import socket
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import isolation
import pytest
import servers
import terraform_places
import terraform_provider
from terraform_places import around
from terraform_provider import ROOTS, Provider, answers, pinned, platform_of, source
from terraform_tool import terraform, terraform_environ

AWS = Provider("hashicorp/aws", "= 5.100.0")
SHELL = "#!/bin/sh\nexit 1\n"
HERE = "linux_amd64"


def fill(mirror: Path, layout: str, platform: str = HERE, version: str = "5.100.0") -> Path:
    """A mirror with a program that is the provider by its name; `init` takes it without starting it."""
    folder = mirror / "registry.terraform.io" / "hashicorp" / "aws"
    if layout == "unpacked":
        program = folder / version / platform / f"terraform-provider-aws_v{version}_x5"
        program.parent.mkdir(parents=True)
        program.write_text(SHELL)
        program.chmod(0o755)
    elif layout == "packed":
        folder.mkdir(parents=True)
        with zipfile.ZipFile(folder / f"terraform-provider-aws_{version}_{platform}.zip", "w") as archive:
            archive.writestr(f"terraform-provider-aws_v{version}", SHELL)
    else:
        (folder / version / platform).mkdir(parents=True)
    return mirror


@pytest.mark.parametrize(
    ("layout", "version", "other", "required"),
    [
        *[("unpacked", "5.100.0", False, "~> 5.100"), ("packed", "5.101.2", False, "~> 5.100")],
        *[("unpacked", "5.99.0", False, "~> 5.100"), ("packed", "6.0.0", False, "~> 5.100")],
        *[("unpacked", "5.100.0", True, "~> 5.100"), ("packed", "5.100.0", True, "~> 5.100")],
        *[("empty", "5.100.0", False, "~> 5.100"), ("packed", "5.100.0", False, ">= 5.1, < 5.101.0")],
        *[("unpacked", "5.100.0", False, "5.100.0"), ("unpacked", "5.100.0", False, "= 5.100.1")],
    ],
)
def test_a_mirror_counts_where_terraform_takes_it(
    layout: str, version: str, other: bool, required: str, tmp_path: Path
) -> None:
    environ = terraform_environ(tmp_path, provider=False)
    here = platform_of(servers.require_tool("terraform"))
    mirror = fill(tmp_path / "a mirror", layout, "plan9_mips" if other else here, version)
    root = tmp_path / "root"
    root.mkdir()
    versions = f'terraform {{\n required_providers {{\n aws = {{\n source = "hashicorp/aws"\nversion = "{required}"\n'
    (root / "versions.tf").write_text(versions + "}\n}\n}\n")
    settings = terraform_provider.installation("filesystem_mirror", "path", str(mirror))
    Path(environ["TF_CLI_CONFIG_FILE"]).write_text(settings)
    (provider,) = pinned(tmp_path)
    done = terraform(root, "init", "-no-color", environ=environ)
    assert provider.is_in(mirror, here) is (done.returncode == 0), done.stdout + done.stderr


def test_the_root_modules_pin_their_providers() -> None:
    assert AWS in pinned()
    assert Provider("example.com/acme/aws", "~> 1.0").address == "example.com/acme/aws"


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a machine that has no folder with a provider and no way to the registry."""
    monkeypatch.setattr(terraform_places, "USUAL", ())
    monkeypatch.setenv(isolation.SESSION, str(tmp_path))  # another session: it asks the registry for itself
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{servers.free_port()}")
    home = tmp_path / "home"
    home.mkdir()
    return {"HOME": str(home), "XDG_DATA_DIRS": str(tmp_path / "share")}


def found(environ: dict[str, str]) -> Path:
    """The mirror in Terraform's settings."""
    settings = source(environ, HERE, frozenset([AWS]))
    (path,) = terraform_places.values(settings, "path", block="filesystem_mirror")
    return Path(path)


def test_the_places_in_their_order(alone: dict[str, str], tmp_path: Path) -> None:
    """Each place comes before the ones below it."""
    home, named = Path(alone["HOME"]), tmp_path / "named"
    configured, cached = tmp_path / "configured", tmp_path / "cached"
    settings = f"""
        # filesystem_mirror {{ path = "/commented/out" }}
        plugin_cache_dir = "{cached}"
        provider_installation {{
          network_mirror {{ url = "https://127.0.0.1:1/" }}
          filesystem_mirror {{
            include = ["registry.terraform.io/*/*"]  // and no other
            path    = "{configured}"
          }}
          direct {{ /* none */ }}
        }}
        """
    (home / ".terraformrc").write_text(settings)
    # From the last to the first: what is filled later goes before.
    order = [
        *[cached, tmp_path / "cache of the environment", tmp_path / "share" / "terraform" / "plugins"],
        *[home / ".local/share/terraform/plugins", home / ".terraform.d" / "plugins", configured, named],
    ]
    environ = {**alone, "TF_PLUGIN_MIRROR": str(named), "TF_PLUGIN_CACHE_DIR": str(order[1])}
    for place in order:
        fill(place, "unpacked")
        assert found(environ) == place


def test_a_configuration_named_by_a_variable_may_be_json(alone: dict[str, str], tmp_path: Path) -> None:
    mirror = fill(tmp_path / 'a "mirror"', "packed")
    file = tmp_path / "settings.tfrc.json"
    file.write_text(json.dumps({"provider_installation": [{"filesystem_mirror": [{"path": str(mirror)}]}]}))
    (Path(alone["HOME"]) / ".terraformrc").write_text(f'plugin_cache_dir = "{fill(tmp_path / "other", "packed")}"')
    assert found({**alone, "TF_CLI_CONFIG_FILE": str(file)}) == mirror
    assert found(alone) == tmp_path / "other"


def test_neither_mirror_nor_registry(alone: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = fill(tmp_path / "named", "unpacked", version="5.9.0")
    environ = {**alone, "TF_PLUGIN_MIRROR": str(named)}
    monkeypatch.delenv("WMS_REQUIRE_TOOLS", raising=False)
    with pytest.raises(pytest.skip.Exception) as skipped:
        source(environ, HERE, frozenset([AWS]))
    said = str(skipped.value)
    for words in (
        "hashicorp/aws = 5.100.0 for linux_amd64",
        str(named),
        f"-chdir={ROOTS / 'instance'} providers mirror",
    ):
        assert words in said
    monkeypatch.setenv("WMS_REQUIRE_TOOLS", "1")
    with pytest.raises(pytest.fail.Exception, match=r"registry.terraform.io doesn't answer.* WMS_REQUIRE_TOOLS is set"):
        source(environ, HERE, frozenset([AWS]))


def test_the_look_around_is_bounded(tmp_path: Path) -> None:
    near, far = fill(tmp_path / "b" / "near", "unpacked"), fill(tmp_path / "a" / "b" / "c" / "far", "unpacked")
    (tmp_path / "a" / "round").symlink_to(tmp_path, target_is_directory=True)
    open_to_all = fill(tmp_path / "open", "unpacked")
    open_to_all.chmod(0o777)
    assert list(around([tmp_path], depth=5)) == [near, far]
    assert list(around([tmp_path, tmp_path / "a"], depth=5)) == [near, far], "no folder twice"
    assert list(around([tmp_path], depth=4)) == [near]
    assert list(around([tmp_path], depth=5, entries=3)) == []
    assert list(around([tmp_path / "none", tmp_path / "b"])) == [near]


@contextlib.contextmanager
def web(status: int, asked: list[str]) -> Iterator[str]:
    """A server that answers every question with a status and notes it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with servers.serving(server):
        yield f"http://127.0.0.1:{server.server_port}/"


@pytest.mark.parametrize(("status", "answer"), [(200, True), (404, False)])
def test_the_registry_is_asked_once(status: int, answer: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(isolation.SESSION, str(tmp_path))
    asked: list[str] = []
    with web(status, asked) as url:
        assert [answers(url), answers(url)] == [answer, answer]
    assert asked == ["/"]


def test_a_registry_that_never_answers_costs_no_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(isolation.SESSION, str(tmp_path))
    monkeypatch.setattr(terraform_provider, "LONGEST_ANSWER_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert answers(f"http://127.0.0.1:{silent.getsockname()[1]}/") is False
