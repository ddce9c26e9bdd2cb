"""The command: exit codes, what it prints, the JSON and the page that it writes."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image
from qa_data import COUNT, first
from small import ROOT, environment

from wms.data.looks import look_of
from wms.data.qa.html import PER_CHECK
from wms.data.synthetic import write_dataset
from wms.errors import DataQualityError, SplitError, UsageError
from wms.files import sha256_file

pytest_plugins = ["qa_fixtures"]
SCRIPT = ROOT / "devops" / "scripts" / "data-qa.py"
DOCUMENT = ROOT / "docs" / "data-qa.md"


def run(folder: Path, *more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, folder, "--cache", folder.parent / "qa-cache", *more]
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env=environment(), timeout=120
    )


class Page(HTMLParser):
    """Collects what a page shows and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "img":
            self.images.append(values["src"])
        self.links += [values[key] for key in ("href", "src") if key in values and tag != "img"]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def test_good_data(folder, tmp_path):
    done = run(folder, "--output", tmp_path / "report.json", "--html", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        f"PASS: {COUNT} images, {COUNT} masks, {COUNT} valid pairs, 0 errors, 0 warnings."
    )
    report = json.loads((tmp_path / "report.json").read_text())
    wanted = {"status", "image_count", "mask_count", "valid_pairs", "errors", "warnings", "statistics", "problems"}
    assert wanted <= report.keys()
    assert "Nothing was found." in Page((tmp_path / "report.html").read_text()).words


def test_bad_data_fails_after_everything_is_written(folder, tmp_path):
    first(folder)[0].write_bytes(b"")
    done = run(folder, "--output", tmp_path / "report.json")
    assert done.returncode == DataQualityError.exit_code == 28
    assert "empty-file" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("FAIL: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert json.loads((tmp_path / "report.json").read_text())["status"] == "FAIL"


def test_a_missing_part_is_a_finding_and_a_missing_folder_a_usage_error(tmp_path):
    (tmp_path / "photos").mkdir()
    missing = run(tmp_path / "photos")
    assert missing.returncode == DataQualityError.exit_code
    assert "Images directory not found: " in missing.stdout
    assert "Masks directory not found: " in missing.stdout
    wrong = run(tmp_path / "nowhere")
    assert wrong.returncode == UsageError.exit_code
    assert "There is no folder" in wrong.stderr


def test_near_duplicates_across_splits_need_the_record(folder, tmp_path):
    image, mask = first(folder)
    with Image.open(image) as picture:
        picture.save(folder / "images" / "again.png")
    (folder / "masks" / "again.png").write_bytes(mask.read_bytes())
    twins = [image, folder / "images" / "again.png"]
    lines = [
        json.dumps({"sha256": sha256_file(path), "look": look_of(path)[:64], "split": split})
        for path, split in zip(twins, ("train", "test"), strict=True)
    ]
    record = tmp_path / "splits.jsonl"
    record.write_text("\n".join(lines) + "\n")
    assert run(folder, "--splits", tmp_path / "none.jsonl").returncode == 0
    done = run(folder, "--splits", record)
    assert done.returncode == DataQualityError.exit_code
    assert "near-duplicate-across-splits" in done.stdout.replace("\n", "")
    record.write_text("[]\n{}\n")
    assert run(folder, "--splits", record).returncode == SplitError.exit_code


def test_the_page_shows_each_problem_with_its_photos_and_fetches_nothing(tmp_path):
    folder = tmp_path / "photos"
    many = PER_CHECK + 3
    write_dataset(folder, many, seed=3, size=256, difficulty=0.3, mask_format="jpg")
    odd = "<b>&amp;\"'"
    for part in ("images", "masks"):
        path = sorted((folder / part).iterdir())[0]
        path.rename(folder / part / f"{odd}{path.suffix}")
    done = run(folder, "--html", tmp_path / "report.html")
    assert done.returncode == DataQualityError.exit_code
    page = Page((tmp_path / "report.html").read_text())
    assert not page.open, "every tag is closed"
    assert not page.links, "nothing is fetched"
    assert "And 3 more" in page.words
    assert odd in page.words
    assert len(page.images) >= PER_CHECK
    reds = 0
    for source in page.images:
        kind, _, data = source.partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert max(picture.size) <= 240
            red, green, _ = (channel.getextrema() for channel in picture.convert("RGB").split())
            reds += red[1] > 150 and green[0] < 140
    assert reds == len(page.images), "the mask is drawn over"


def test_the_document_tells_every_option_check_and_exit_code():
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"--[a-z][a-z-]+", shown)) - {"--help"}
    assert options
    assert not {option for option in options if option not in text}
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "WMS/src/wms/data/qa").glob("*.py"))
    checks = set(re.findall(r'(?:Problem|_error|_warning|Unreadable)\(\s*"([a-z-]+)"', source))
    assert len(checks) > 20
    assert not {check for check in checks if f"`{check}`" not in text}
    codes = re.findall(r"\d+", text.partition("## Exit codes\n")[2])
    assert {"0", "2", "20", "27", "28", "30", "31", "32", "50", "130"} == set(codes)
