"""`wms`: the tree of commands, its help, its doors, and what starting costs."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import wms_ops.__main__
from wms.errors import INTERRUPTED, LedgerError, UsageError
from wms_ops.base.errors import GitError
from wms_ops.commands.main import find, help_of, main, parse, run, version
from wms_ops.commands.tree import TREE, Group, Leaf, leaves
from wms_ops.runs.record import STEPS
from wms_ops.targets.factory import TARGETS

ROOT = Path(__file__).resolve().parents[2]
LEAVES = dict(leaves(TREE))
ALONE = [path for path in LEAVES if path[1] != "loop" or path[2] in ("run", "merge")]
"""Those with a module of their own: the loop's steps share one."""
GROUPS = [("wms",), *((*("wms",), name) for name, one in TREE.members.items() if isinstance(one, Group))]


def program(*words: str) -> subprocess.CompletedProcess[str]:
    """`wms WORDS` in a process of its own."""
    command = [sys.executable, "-m", "wms_ops", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_each_command_has_a_help_that_fits_and_an_example_that_it_accepts(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf = LEAVES[path]
    with pytest.raises(SystemExit) as ended:
        run([*path[1:], "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    (example,) = re.findall(r"^example:\n  (.+)$", text, re.MULTILINE)
    words = shlex.split(example)
    assert tuple(words[: len(path)]) == path
    found, _, rest = find(words[1:])
    assert found == leaf
    for name in ("exists", "is_dir"):  # an example names folders of its reader
        monkeypatch.setattr(Path, name, lambda _: True)
    parse(leaf, path, rest)


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_each_groups_help_fits_a_screen(path: tuple[str, ...]) -> None:
    group, _, _ = find([*path[1:], "--help"])
    assert isinstance(group, Group)
    lines = help_of(group, path).splitlines()
    assert len(lines) <= 30 and max(map(len, lines)) <= 100
    assert all(any(line.startswith(f"  {name} ") for line in lines) for name in group.members)


@pytest.mark.parametrize("words", ["--help", "--version", "data --help", "data", ""])
def test_help_imports_no_command(words: str) -> None:
    code = (
        "import sys; from wms_ops.commands.main import main; main(sys.argv[1:]); "
        "print({'torch', 'mlflow', 'boto3', 'pydantic', 'numpy', 'rich'} & set(sys.modules) or '', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.splitlines()[-1] == ""


@pytest.mark.parametrize("path", ALONE, ids=" ".join)
def test_no_commands_help_imports_torch_or_mlflow(path: tuple[str, ...]) -> None:
    """All in one process would prove less: each module is imported by its own command."""
    code = (
        "import sys; from wms_ops.commands.main import run\n"
        "try:\n    run([*sys.argv[1:], '--help'])\nexcept SystemExit: pass\n"
        "print({'torch', 'mlflow'} & set(sys.modules) or '', file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *path[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("dta check", "There is no `wms dta` (did you mean data?)"),
        ("data chek", "There is no `wms data chek` (did you mean check?)"),
        ("versions compere", "There is no `wms versions compere` (did you mean compare?)"),
        ("zzzz", "There is no `wms zzzz`; `wms --help` lists what there is."),
        (
            "data check DIR --outptu report.json",
            "unrecognized arguments: --outptu report.json (did you mean --output?)",
        ),
    ],
)
def test_a_typo_gets_the_nearest_name(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(words.split())
    except SystemExit as end:
        code = int(str(end.code))
    assert code == UsageError.exit_code
    err = capsys.readouterr().err
    assert err.startswith(f"error: {said}") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("help", "--help"),
        ("help data", "data --help"),
        ("data help", "data --help"),
        ("help runs", "runs --help"),
        ("runs help", "runs --help"),
        ("help data check", "data check --help"),
        ("data help check", "data check --help"),
    ],
)
def test_help_is_a_word_too(words: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for line in (words, meant):
        try:
            code = main(line.split())
        except SystemExit as end:
            code = int(str(end.code))
        said.append((code, capsys.readouterr()))
    assert said[0] == said[1]
    assert said[0][0] == 0 and said[0][1].out.startswith("usage: wms")


def test_help_for_an_unknown_name_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "dta"]) == UsageError.exit_code
    assert "did you mean data?" in capsys.readouterr().err


READING = [
    "doctor --repo",
    "status --repo",
    "sync --repo",
    "versions --models",
    "versions --runs",
    "versions --repo",
    "versions scores --models",
    "versions ledger",
    "lineage --models",
    "runs --runs",
    "runs best --runs",
    "runs compare RUN --runs",
    "runs send",
    "loop list --folder",
    "loop run --repo",
    "data history --folder",
    "data uses x --folder",
    "data diff a b --folder",
    "data check",
]
WRITING = [
    "promote RUN --ledger",
    "sync --models",
    "gate --run RUN --ledger",
    "cloud down --folder",
    "cloud status --folder",
    "data draw",
]


@pytest.mark.parametrize(
    ("words", "name"),
    [(words, "file") for words in READING + WRITING] + [(words, "nowhere") for words in READING],
)
def test_a_folder_that_is_none_is_refused(
    words: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    try:
        code = main([*words.split(), str(tmp_path / name)])
    except SystemExit as end:
        code = int(str(end.code))
    assert code == UsageError.exit_code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert str(tmp_path / name) in err and "folder" in err


LEDGER_READERS = ["versions --models", "versions scores --models", "versions ledger", "versions baseline --ledger"]


@pytest.mark.parametrize(
    "words", [*LEDGER_READERS, "lineage --models", "lineage 1 --models", "lineage 4ba3c92 --models"]
)
def test_each_command_refuses_a_ledger_that_lost_its_entries(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "production_history.jsonl").write_text("bad\n", encoding="utf-8")
    sample = ROOT / "WMS" / "tests" / "samples" / "v1" / "production_current.json"
    (tmp_path / sample.name).write_bytes(sample.read_bytes())
    assert main([*words.split(), str(tmp_path)]) == LedgerError.exit_code
    assert "beside it tells of one" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["verify nope", "verify --base nope", "merge nope"])
def test_a_commit_that_does_not_exist_is_named(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    for line in (["init", "-q"], [*name, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *line], check=True)
    monkeypatch.chdir(tmp_path)
    assert main(["data", *words.split()]) == GitError.exit_code
    assert capsys.readouterr().err.startswith("error: There is no commit 'nope' in ")


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e3", "9" * 30, "9" * 5000, ""])
@pytest.mark.parametrize(
    "words",
    [
        "data draw DIR --count",
        "data draw DIR --size",
        "data draw DIR --seed",
        "data draw DIR --difficulty",
        "data check DIR --workers",
        "predict --threads",
        "train --seed",
        "promote --version",
        "promote --adopt",
        "rollback --version",
        "runs send DIR --timeout",
        "sync --limit",
        "cloud up --hours",
        "cloud deploy --idle-minutes",
        "serve --model DIR --ledger DIR --port",
    ],
)
def test_a_number_out_of_range_is_refused_before_anything_is_done(
    words: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if value == "1e3" and words in ("runs send DIR --timeout", "sync --limit"):
        value = "1e9"  # a thousand seconds are a number of seconds
    (tmp_path / "kept").touch()
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path) if word == "DIR" else word for word in words.split()] + [value])
    assert caught.value.code == UsageError.exit_code
    out, err = capsys.readouterr()
    assert (
        out == ""
        and err.startswith(f"error: argument {words.rsplit(maxsplit=1)[-1]}: '{value}' isn't a")
        and err.count("\n") == 1
    )
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_a_group_alone_shows_its_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost"]) == UsageError.exit_code
    assert "report" in capsys.readouterr().err


def test_a_group_with_a_usual_command_runs_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["versions", "--models", str(tmp_path)]) == 0
    usual = capsys.readouterr().out
    assert main(["versions", "list", "--models", str(tmp_path)]) == 0
    assert capsys.readouterr().out == usual


def test_the_version_is_the_projects(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"wms {version()}\n"
    assert f'version = "{version()}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_the_steps_and_targets_are_those_of_the_code() -> None:
    loop = TREE.members["loop"]
    assert isinstance(loop, Group)
    assert [name for name in loop.members if name not in ("run", "part", "list")] == list(STEPS)
    for name in TARGETS:
        assert importlib.util.find_spec(f"wms_ops.commands.cloud_{name}")


def test_what_a_target_does_not_know_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cloud", "store", "--target", "local"]) == UsageError.exit_code
    assert "The target local has no `wms cloud store`; add --target aws." in capsys.readouterr().err
    assert main(["cloud", "up", "--target", "local", "--hours", "2"]) == UsageError.exit_code
    assert "--hours is for the target aws" in capsys.readouterr().err


def test_wms_cloud_names_the_target(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WMS_CLOUD", "azure")
    assert main(["cloud", "status"]) == UsageError.exit_code
    assert "WMS_CLOUD is 'azure', but no target has that name" in capsys.readouterr().err


OLD = {
    "wms_ops.dataset": "data",
    "wms_ops.pipeline": "loop",
    "wms_ops.cost": "cost",
    "wms_ops.cloud": "cloud",
    "wms_ops.cloud.aws": "cloud",
    "wms_ops.cloud.aws.reap": "cloud reap",
    "wms.serving": "serve",
    "wms.training.mlflow_sync": "runs send",
    "wms.registry.ledger": "versions ledger",
    "wms.data.versions": "data",
    "wms.inference.export": "versions export",
    "wms.data.qa.calibrate": "data calibrate",
    "wms.data.synthetic": "data draw",
}


@pytest.mark.parametrize("module", OLD)
def test_an_old_name_works_and_names_the_new_one(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.startswith(f"usage: wms {OLD[module]} ")
    assert done.stderr == f"`python -m {module}` is `wms {OLD[module]}` now; the old name goes next.\n"


def test_the_old_names_keep_their_order_of_arguments(tmp_path: Path) -> None:
    for words in (
        ["wms.data.versions", "--folder", str(tmp_path), "history"],
        ["wms_ops.cloud", "status", "--folder", str(tmp_path / "cloud")],
    ):
        done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("\n") == 1


def test_the_program_maps_errors(tmp_path: Path) -> None:
    done = program("data", "check", str(tmp_path / "nowhere"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: There is no folder")


@pytest.mark.parametrize(
    ("words", "there"),
    [
        (["export", "WMS/models"], "`wms versions export`"),
        (["merge"], "`wms data merge` and `wms loop merge`"),
        (["trian"], "(did you mean train?)"),
    ],
)
def test_a_name_of_another_group_is_led_to_it(words: list[str], there: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == UsageError.exit_code
    assert there in capsys.readouterr().err


def test_leaves_name_modules_that_exist() -> None:
    for leaf in LEAVES.values():
        assert isinstance(leaf, Leaf)
        assert importlib.util.find_spec(leaf.entry.partition(":")[0])


@pytest.mark.parametrize("words", [*READING, *WRITING, "predict --input", "versions export", "train --config"])
def test_a_name_that_is_too_long_is_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*words.split(), "x" * 5000])
    assert end.value.code == UsageError.exit_code
    _, err = capsys.readouterr()
    assert "File name too long" in err and err.count("\n") == 1 and len(err) < 300


@pytest.mark.parametrize("words", ["runs compare a --plot", "versions scores --plot", "gate --run x --html"])
@pytest.mark.parametrize("name", ["", "nowhere/page"])
def test_a_file_to_write_needs_a_name_and_a_folder(words: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*words.split(), name])
    assert end.value.code == UsageError.exit_code
    assert ("there is no folder nowhere" if name else "'' names no file") in capsys.readouterr().err


@pytest.mark.parametrize("door", ["-m wms_ops.cloud", "-m wms_ops.cloud.aws", "-m wms_ops.pipeline", "cloud.sh"])
def test_a_door_without_a_command_lists_the_commands(door: str) -> None:
    command = ["bash", str(ROOT / "devops/scripts/cloud.sh")] if door == "cloud.sh" else [sys.executable, *door.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == UsageError.exit_code
    assert "usage: wms " in done.stderr and "COMMAND --help` has an example" in done.stderr


def test_ctrl_c_before_the_command_begins_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "wms.start", Interrupted("wms.start"))
    assert wms_ops.__main__.main() == INTERRUPTED
