"""The gate's floor, and the model card of a real run: the gate draws its worst photos, a promotion writes it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from gate_runs import GateRuns, one_sentence
from PIL import Image

from wms.project import Project
from wms.registry import companions, promotion
from wms.registry.card_records import PHOTOS_SHOWN, worst_photos
from wms.registry.gate_types import GateReport
from wms.registry.ledger import Ledger
from wms.registry.lineage import MODEL_CARD, MODEL_CARD_PAGE, WORST_PHOTOS
from wms.registry.promotion import PromotionClient, PromotionOutcome
from wms.registry.verdicts import REPORT_FILE

pytest_plugins = ["gate_fixtures"]


def test_the_floor_holds_in_a_first_training_and_beside_a_champion(
    runs: GateRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--report", tmp_path / "r.md", "--html", tmp_path / "p.html"]
    for champion in (None, runs.weak):
        runs.produce(champion)
        assert runs.gate(runs.good, recipe=runs.recipe_with(floor=0.1)) == 0
        assert runs.verdict(runs.good).decision == "improved"
        capsys.readouterr()
        assert runs.gate(runs.good, *files, recipe=runs.recipe_with(floor=0.999)) == 90
        reason = runs.verdict(runs.good).reasons[0]
        assert "under gate.floor, which asks for 0.999 or more" in reason
        assert reason in one_sentence(capsys.readouterr().err)
        assert "under gate.floor" in (tmp_path / "r.md").read_text()
        assert reason in (tmp_path / "p.html").read_text()


@pytest.mark.parametrize("publish", [False, True])
def test_a_promotion_writes_the_card_with_the_worst_photos(
    runs: GateRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publish: bool
) -> None:
    monkeypatch.setattr(companions, "project", lambda: Project(publish_photos=publish))
    runs.produce(None)
    assert runs.gate(runs.good) == 0
    client = PromotionClient(runs.server.uri, Ledger(tmp_path), tmp_path / "model-metadata.json")
    proposal = promotion.propose(client, runs.good)
    assert not isinstance(proposal, PromotionOutcome)
    assert promotion.execute(client, proposal, who="Ann <b>").text.endswith("is Production, the first one.")
    read = lambda path: runs.registry.read_artifact(runs.good, path)  # noqa: E731
    report = GateReport.model_validate_json(read(REPORT_FILE))
    whole = read(f"card/{MODEL_CARD_PAGE}").decode()
    text = read(f"card/{MODEL_CARD}").decode()
    for image in worst_photos(report):
        assert f"| {image.stem} | {image.challenger.dice:.4f} | {image.width} x {image.height} |" in text
    assert "by Ann &#60;b&#62; at" in text and "by Ann &lt;b&gt; at" in whole
    assert f"in test | {len(report.images)} |" in text and "40 epochs at 48 pixels" in text
    assert (
        f"The first {PHOTOS_SHOWN} of them" in text
        and f"]({WORST_PHOTOS})" in text
        and whole.count("data:image/jpeg;base64,") == 1
    )
    drawn = Image.open(io.BytesIO(read(f"card/{WORST_PHOTOS}")))
    assert drawn.size[1] > 3 * 400 and drawn.getextrema() != ((255, 255),) * 3
    assert "Too few test photos for slices." in text
    published = companions.read_documents(runs.registry, runs.good)
    assert set(published) == {MODEL_CARD, MODEL_CARD_PAGE, *([WORST_PHOTOS] if publish else [])}
    assert (b"data:image/jpeg" in published[MODEL_CARD_PAGE]) is publish
    assert (b"publish_photos" in published[MODEL_CARD]) is not publish
