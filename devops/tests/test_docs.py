"""The documents say what is so: links lead somewhere, files exist, figures and codes are those of their pages."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import botocore.session
import jmespath
import pytest
import yaml
from botocore import xform_name

from wms_ops.runs.record import STEPS

HOUSE = Path(__file__).resolve().parents[2]
DOCS = HOUSE / "docs"
PAGES = [HOUSE / "README.md", HOUSE / "infrastructure/terraform/README.md", *sorted(DOCS.glob("*.md"))]
ROOTS = ("WMS/", "devops/", "docs/", "hooks/", "infrastructure/", ".github/")
MADE = ("training", "predictions", "dataset", "candidate", "evaluation", "splits.jsonl", "prepared.json", "production")
"""What a user, a command or a promotion makes below WMS/data and WMS/models: not in a fresh clone."""
SOURCES = [path for root in ("WMS", "devops", ".github", "hooks") for path in sorted((HOUSE / root).rglob("*"))]

named = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(HOUSE).as_posix())


def prose(page: Path) -> str:
    """The page without fenced blocks and indented code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^ {4,}(?![-*|\d]).*$", "", text, flags=re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them; of equal headings the later ones are numbered."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found[anchor] = found.get(anchor, -1) + 1
    return {f"{name}-{number}" if number else name for name, last in found.items() for number in range(last + 1)}


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Each relative link of a page: as written, the file that it leads to, and its anchor or an empty string."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", link):
            path, _, anchor = unquote(link).partition("#")
            yield link, (page.parent / path).resolve() if path else page, anchor


@named
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    for link, target, anchor in links(page):
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_reached_from_the_readme() -> None:
    seen, waiting = set[Path](), [HOUSE / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            waiting += [target for _, target, _ in links(page)]
    assert set(PAGES) <= seen


@named
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"(?<![\w./:-])(?:WMS|devops|docs|hooks|infrastructure|\.github)/[\w./*-]*\w", text):
        if any(f"/{made}" in name for made in MADE) or name == "infrastructure/terraform/wms.tfvars":
            continue
        assert any(HOUSE.glob(name)), name


def test_pages_that_the_code_names_exist() -> None:
    found = 0
    for path in SOURCES:
        if path.is_file() and path.suffix in (".py", ".sh", ".yml", ".j2", ".tf", "") and path != Path(__file__):
            for name in re.findall(r"(?<![\w/.])docs/[\w-]+\.md", path.read_text(encoding="utf-8", errors="ignore")):
                found += 1
                assert (HOUSE / name).is_file(), f"{path.relative_to(HOUSE)} names {name}"
    assert found > 20


@named
def test_codes_of_a_page_are_on_the_page_of_all(page: Path) -> None:
    known = set(re.findall(r"^\| (\d+) \|", (DOCS / "exit-codes.md").read_text(encoding="utf-8"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    told = re.findall(r"(?:code|codes|ends with|end with|ended with|fails with code) (\d+)(?![\d.,]*\d|%| %)", text)
    assert set(told) - {"0"} <= known


def test_figures_of_the_readme_are_those_of_the_page_that_it_names() -> None:
    section = (HOUSE / "README.md").read_text(encoding="utf-8").partition("## Measured\n")[2]
    rows = re.findall(
        r"^\| (?!what|---)[^|]+\| ([^|]+)\| `(make [a-z-]+)[^|]*\| \[\w[\w-]*\]\(([^)#]+)", section, re.MULTILINE
    )
    assert len(rows) == len(re.findall(r"^\| ", section, re.MULTILINE)) - 1  # the heading
    for figures, command, name in rows:
        text = (HOUSE / name).read_text(encoding="utf-8")
        for figure in re.findall(r"\d+\.\d+", figures):
            assert figure in text, f"{figure} isn't on {name}"
        assert command in text, f"{name} doesn't say {command}"


def test_the_layers_are_those_of_the_contract() -> None:
    contracts = tomllib.loads((HOUSE / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (contract,) = (one for one in contracts if one.get("containers") == ["wms_ops"])
    layers = [set(layer.split(" | ")) for layer in reversed(contract["layers"])]
    text = (DOCS / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## wms_ops, in layers")[2]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text.partition("\n## ")[0], re.MULTILINE)
    assert [set(re.findall(r"\w+", row)) for row in rows] == layers


def test_the_workflows_page_names_each_workflow_and_what_it_reads() -> None:
    text = (DOCS / "WORKFLOWS.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## ([\w-]+\.yaml).*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    files = {path.name: path for path in (HOUSE / ".github/workflows").glob("*.y*ml")}
    assert set(sections) == set(files)
    everywhere = (DOCS / "CREDENTIALS.md").read_text(encoding="utf-8")
    for name, path in files.items():
        workflow = path.read_text(encoding="utf-8")
        read = set(re.findall(r"(?:secrets|vars)\.([A-Z_]+)", workflow))
        told = re.search(r"^\| reads \| (.*) \|$", sections[name], re.MULTILINE)
        assert told and set(re.findall(r"`([A-Z_]+)`", told[1])) == read, name
        assert all(f"`{one}`" in everywhere for one in read)
        jobs = yaml.safe_load(workflow)["jobs"]
        assert set(re.findall(r"^\| job `(\w+)`", sections[name], re.MULTILINE)) == set(jobs), name
        limits = sorted({str(job["timeout-minutes"]) for job in jobs.values()})
        limit = re.search(r"^\| limit \| (.*) \|$", sections[name], re.MULTILINE)
        assert limit and sorted(set(re.findall(r"\d+", limit[1]))) == limits, name


def test_the_steps_of_the_loop() -> None:
    text = (DOCS / "loop.md").read_text(encoding="utf-8").partition("## The steps")[2].partition("\n## ")[0]
    assert tuple(re.findall(r"^\| ([a-z-]+) \| (?!what)", text, re.MULTILINE)) == STEPS
    picture = (
        (DOCS / "DIAGRAMS.md").read_text(encoding="utf-8").partition("## The steps of a run")[2].partition("\n## ")[0]
    )
    assert set(STEPS) <= set(re.findall(r"[a-z-]+", picture))


def aws_commands() -> list[str]:
    """The raw `aws` command lines of all pages, each with its continued lines joined."""
    lines = []
    for page in PAGES:
        text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
        lines += re.findall(r"^ +(aws (?:ec2|ssm|sts) .*?)(?:\s+#.*)?$", text, re.MULTILINE)
    return lines


@pytest.mark.parametrize("line", aws_commands())
def test_a_raw_aws_command_is_one(line: str) -> None:
    """Operation and options are those of AWS's own description of its API, and a query is JMESPath."""
    _, service, operation, *rest = shlex.split(line)
    client = botocore.session.get_session().get_service_model(service)
    if operation == "start-session":  # made by the plugin of Session Manager, from the same description
        assert "StartSession" in client.operation_names
    if operation == "wait":
        operation = {"instance-terminated": "describe-instances"}[rest.pop(0)]
    model = client.operation_model(next(n for n in client.operation_names if xform_name(n, "-") == operation))
    inputs = model.input_shape.members if model.input_shape else {}
    options = {xform_name(name, "-") for name in inputs}
    options |= {name.removesuffix("-id") + "-id" for name in options}
    for option in (word[2:] for word in rest if word.startswith("--")):
        assert option in options | {"region", "output", "query", "filters"}, option
    if "--query" in rest:
        jmespath.compile(rest[rest.index("--query") + 1])


def test_there_is_a_raw_fallback() -> None:
    text = " ".join(aws_commands())
    assert {"terminate-instances", "describe-instances", "delete-volume"} <= set(text.split())


def test_the_query_of_the_runbook_finds_an_instance_of_ours() -> None:
    (query,) = (shlex.split(line) for line in aws_commands() if "describe-instances" in line and "--query" in line)
    tags = [{"Key": "wms:environment", "Value": "main"}, {"Key": "Name", "Value": "wms-main"}]
    instance = {"InstanceId": "i-1", "InstanceType": "t3.large", "State": {"Name": "running"}, "Tags": tags}
    found = jmespath.search(query[query.index("--query") + 1], {"Reservations": [{"Instances": [instance]}]})
    assert found == [["i-1", "t3.large", "running", tags[:1]]]


def test_scripts_that_a_page_starts_can_be_run() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    scripts = {HOUSE / name for name in re.findall(r"devops/scripts/[\w-]+\.sh", text)}
    assert len(scripts) >= 4
    assert all(os.access(path, os.X_OK) for path in scripts)
