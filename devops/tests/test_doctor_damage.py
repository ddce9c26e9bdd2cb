"""`wms doctor` and `wms status` about damage and wrong settings: the advice fits the error, and no bug hides."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wms.errors import UsageError
from wms.paths import ROOT
from wms.registry.ledger import HISTORY, Ledger
from wms.registry.metadata import NOTHING_PROMOTED, metadata_of
from wms_ops.base.errors import StoreConfigError
from wms_ops.base.layout import METADATA, MODELS
from wms_ops.commands import doctor, status
from wms_ops.commands.advice import AGAIN, KEYS, reason, remedy
from wms_ops.commands.checks import check_mlflow
from wms_ops.commands.finding import Finding, State
from wms_ops.commands.main import main
from wms_ops.commands.parallel import ask_all
from wms_ops.commands.roles import CHECKS

pytestmark = pytest.mark.slice("damage that the doctor finds", of=2)

SAMPLES = ROOT / "WMS" / "tests" / "samples" / "v1"
URL = "s3://somewhere/dvc"


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three promotions on record; asked are only the checks of this file."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "WMS_DVC_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("ACCESS_KEY_ID", "key"), ("SECRET_ACCESS_KEY", "secret"), ("EC2_METADATA_DISABLED", "true")):
        monkeypatch.setenv(f"AWS_{name}", value)
    shutil.copytree(SAMPLES, tmp_path / MODELS)
    shutil.copy(SAMPLES / METADATA, tmp_path / METADATA)
    (tmp_path / ".dvc").mkdir()
    config = f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {URL}\n"
    (tmp_path / ".dvc" / "config").write_text(config, encoding="utf-8")
    return tmp_path


def told(clone: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Finding:
    monkeypatch.setattr(doctor, "CHECKS", {name: CHECKS[name]})
    return doctor.examine(clone)[0]


def test_a_changed_ledger_is_damage_and_is_restored(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clone / MODELS / HISTORY
    path.write_text(path.read_text(encoding="utf-8").replace("Zoë", "Ann"), encoding="utf-8")
    found = told(clone, monkeypatch, "records")
    assert (found.state, found.mend) == (State.MISSING, "MLFLOW_TRACKING_URI=ADDRESS wms restore")
    assert "its hash doesn't fit" in found.text


@pytest.mark.parametrize(
    ("name", "setting", "mend"),
    [
        ("bucket", "WMS_DVC_URL=zzz", "set WMS_DVC_URL to s3://BUCKET/PREFIX, or unset it"),
        ("bucket", "AWS_ENDPOINT_URL_S3=zzz", "set AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL to an address such as"),
        ("bucket", "AWS_PROFILE=nonesuch", KEYS),
        ("AWS", "AWS_REGION=éé", "set AWS_REGION and `region` in "),
        ("MLflow", "MLFLOW_TRACKING_URI=zzz://q", "give the server's address, such as http://localhost:5000"),
    ],
)
def test_a_wrong_setting_is_named_by_the_advice(
    clone: Path, monkeypatch: pytest.MonkeyPatch, name: str, setting: str, mend: str
) -> None:
    if name == "bucket":
        monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv(*setting.split("=", 1))
    found = told(clone, monkeypatch, name)
    assert found.state is (State.MISSING if name == "bucket" else State.OPTIONAL)
    assert found.mend.startswith(mend), found


def test_a_damaged_dvc_config_is_restored(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (clone / ".dvc" / "config").write_text("[[[\n", encoding="utf-8")
    found = told(clone, monkeypatch, "bucket")
    assert found.state is State.MISSING and found.mend.startswith("git restore .dvc/config")


@pytest.mark.parametrize("uri", ["zzz://q", "some/folder", "file:///tmp/x"])
def test_doctor_and_the_other_commands_agree_on_the_server(
    uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert main(["runs", "list"]) == UsageError.exit_code
    said = capsys.readouterr().err.removeprefix("error: ").strip()
    with pytest.raises(UsageError) as caught:
        check_mlflow(ROOT)
    assert str(caught.value) == said


def test_a_database_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://ada:secret@127.0.0.1/mlflow")
    found = check_mlflow(ROOT)
    assert found.state is State.FINE and "secret" not in found.text


def test_the_advice_follows_the_kind_of_error() -> None:
    assert remedy(TimeoutError()) == remedy(ConnectionRefusedError(111, "refused")) == AGAIN
    denied = PermissionError(13, "Permission denied", "a.json")
    assert (reason(denied), remedy(denied)) == ("a.json: Permission denied", "look at a.json and at its permissions")
    assert remedy(StoreConfigError("It broke.")) == "correct that, then try again"


def test_a_bug_in_a_check_is_one_sentence_and_no_traceback(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(_: Path) -> Finding:
        raise KeyError("region")

    monkeypatch.setattr(doctor, "CHECKS", {"one": (broken, True), "two": (broken, False), "disk": CHECKS["disk"]})
    one, two, disk = doctor.examine(clone)
    assert one.text == "the question failed by a fault of this program: KeyError: 'region'"
    assert (one.state, two.state) == (State.MISSING, State.OPTIONAL) and disk.name == "disk"
    assert one.mend == "report this line as a fault of this program"
    monkeypatch.setattr(status, "_QUESTIONS", {"data_set": broken})
    assert main(["status", "--repo", str(clone)]) == 0
    out, err = capfd.readouterr()
    assert "data set      not known: the question failed by a fault of this program: KeyError: 'region'\n" in out
    assert not err


def test_an_exception_without_words_is_an_answer() -> None:
    def broken(_: Path) -> None:
        raise AssertionError

    assert reason(ask_all({"one": broken}, ROOT)["one"]).endswith(": AssertionError")  # type: ignore[arg-type]


def without_ledger(clone: Path) -> None:
    shutil.rmtree(clone / MODELS)


def without_time(clone: Path) -> None:
    without_ledger(clone)
    values = json.loads((clone / METADATA).read_bytes())
    (clone / METADATA).write_text(json.dumps(values | {"promoted_at": None}), encoding="utf-8")


def without_file(clone: Path) -> None:
    (clone / METADATA).unlink()


def with_a_folder(clone: Path) -> None:
    without_file(clone)
    (clone / METADATA).mkdir()


def with_a_format(value: object) -> Callable[[Path], None]:
    def change(clone: Path) -> None:
        values = json.loads((clone / METADATA).read_bytes())
        (clone / METADATA).write_text(json.dumps(values | {"format": value}), encoding="utf-8")

    return change


FAULTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "ahead of an empty ledger": (without_ledger, "names version 1, but ", "restore both from Git, or, if nothing was"),
    "ahead, without a time": (without_time, "names version 1, but ", "restore both from Git, or, if nothing was"),
    "missing": (without_file, " is missing; ", "wms versions metadata"),
    "a folder": (with_a_folder, "can't be read (Is a directory)", "restore it from Git"),
    "format 3.0": (with_a_format(3.0), "format is 3.0, but a whole number", "wms versions metadata"),
    "format 3": (with_a_format(3), "was written by a newer version", "update this clone"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_doctor_and_status_name_a_fault_of_model_metadata(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    change, words, mend = FAULTS[case]
    assert told(clone, monkeypatch, "records").state is State.FINE
    change(clone)
    found = told(clone, monkeypatch, "records")
    assert found.state is State.MISSING and words in found.text and found.mend.startswith(mend), found
    assert status.production(clone)["damage"] == found.text
    main(["status", "--repo", str(clone)])
    assert f"\n{'':14}{found.text}\n" in capsys.readouterr().out


def test_a_file_that_lags_behind_is_no_damage(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in (metadata_of(Ledger(clone / MODELS).entries()[0]).text, NOTHING_PROMOTED):
        (clone / METADATA).write_text(text, encoding="utf-8")
        found = told(clone, monkeypatch, "records")
        assert found.state is State.OPTIONAL and " lags: " in found.text and found.mend == "wms versions metadata"
        assert "damage" not in status.production(clone)


def test_a_file_ahead_of_an_empty_ledger_is_written_anew(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    without_ledger(clone)
    (clone / MODELS).mkdir()
    where = ["--ledger", str(clone / MODELS), "--metadata", str(clone / METADATA)]
    assert main(["versions", "metadata", *where]) == 0
    assert (clone / METADATA).read_text(encoding="utf-8") == NOTHING_PROMOTED


IMPORTS = """
import sys, threading
from pathlib import Path
found = []
class Finder:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is not threading.main_thread():
            found.append(name)
sys.meta_path.insert(0, Finder())
from wms_ops.commands import doctor
asked = ("bucket", "AWS", "Terraform", "GitHub", "MLflow", "model")
doctor.CHECKS = {**{name: doctor.CHECKS[name] for name in asked}, **doctor.ROLES["operator"]}
del doctor.CHECKS["Python"]  # which looks whether libraries are there, and imports none
doctor.examine(Path(sys.argv[1]))
print([name for name in found if name.partition(".")[0] not in sys.stdlib_module_names])
"""


def test_no_check_imports_a_library_in_its_thread(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that import the same library at a time have locked each other out."""
    with_address = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    for name, value in with_address.items():
        monkeypatch.setenv(name, value)
    line = [sys.executable, "-c", IMPORTS, str(clone)]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]"
