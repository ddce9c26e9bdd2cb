"""The smoke deployment: the promoted version must serve a known photo correctly, or the previous version returns."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wms.data.images import read_image
from wms.data.pairs import Pair, find_pairs, read_pair
from wms.errors import UsageError, WmsError
from wms.files import parse_json, sha256_file, write_atomic
from wms.inference.predictor import Predictor
from wms.loopback import is_loopback
from wms.metrics import DICE, IOU, measure
from wms.registry import promotion
from wms.registry.companions import read_documents
from wms.registry.gate_types import GateReport
from wms.registry.ledger import Ledger, LedgerEntry
from wms.registry.lineage import FILES
from wms.registry.plan import SMOKE, Proposal
from wms.registry.shipped import ship
from wms.regular import read_regular
from wms_ops.base.errors import PipelineError, SmokeError
from wms_ops.base.layout import MODELS
from wms_ops.base.settings import LoopSettings
from wms_ops.loop.context import Done, RunContext
from wms_ops.loop.steps_decide import bring_data
from wms_ops.machine.types import ModelRelease
from wms_ops.release.actor import who

SAME_MASK = 0.99  # IoU between what is served and what the same file predicts here
WORST_LOSS = 0.10  # Dice below the gate's for the same photo; the gate compares on its own grid


@dataclass(frozen=True)
class Known:
    """A test photo, its mask (H, W) bool, and the Dice that the gate measured for the new model."""

    name: str
    photo: Path
    mask: NDArray[np.bool_]
    dice: float


@dataclass(frozen=True)
class SmokeAnswer:
    """The service's response: the mask (H, W) bool, the version in its headers, and the response time in seconds."""

    mask: NDArray[np.bool_]
    version: str
    seconds: float


def smoke_deploy(context: RunContext, values: Mapping[str, str]) -> Done:
    """Deploy the promoted version and check its response; on failure the previous version is Production again.

    Raises SmokeError with the reason and the countermeasure.
    """
    version = int(values["version"])
    entry = _entry(context, version)
    release = ModelRelease(version, entry.weights_sha256, _model(context, entry), context.workspace / MODELS)
    bring_data(context, values)
    known = _known_photo(context)
    try:
        service = context.cloud.deploy(release)
        answer = ask(service, known.photo)
        dice = judge(answer, known, Predictor(release.model, threads=1), version)
    except WmsError as error:
        raise SmokeError(f"{error} {_go_back(context, version, str(error))}") from error
    outputs = {
        "service": service,
        "latency_ms": f"{answer.seconds * 1000:.0f}",
        "smoke_photo": known.name,
        "smoke_dice": f"{dice:.4f}",
    }
    text = f"Version {version} serves {known.name} with Dice {dice:.3f} in {answer.seconds * 1000:.0f} ms at {service}."
    return Done(outputs, text)


def ask(service: str, photo: Path) -> SmokeAnswer:
    """Post a photo twice, because a first request warms up, and time the second. Raises SmokeError."""
    import httpx

    try:
        with httpx.Client(base_url=service, timeout=60, trust_env=not is_loopback(service)) as client:
            for _ in range(2):
                started = time.perf_counter()
                found = client.post("/predict", files={"file": (photo.name, photo.read_bytes())})
                seconds = time.perf_counter() - started
                found.raise_for_status()
        with Image.open(io.BytesIO(found.content)) as image:
            mask = np.asarray(image.convert("L")) > 127
    except (httpx.HTTPError, OSError) as error:
        raise SmokeError(f"The service at {service} doesn't predict {photo.name}: {error}.") from error
    return SmokeAnswer(mask, found.headers.get("X-Model-Version", ""), seconds)


def judge(answer: SmokeAnswer, known: Known, predictor: Predictor, version: int) -> float:
    """Dice of the served mask against the labelled mask.

    Raises SmokeError for a wrong version, size, mask, Dice or latency.
    """
    if answer.version != str(version):
        raise SmokeError(f"The service says that it's version {answer.version or 'none'}, not {version}.")
    if answer.mask.shape != known.mask.shape:
        raise SmokeError(f"The mask of {known.name} has {answer.mask.shape[::-1]} pixels, not the photo's own size.")
    expected = predictor.predict(read_image(known.photo))
    if (same := measure(answer.mask, expected)[IOU]) < SAME_MASK:
        raise SmokeError(f"The served mask of {known.name} isn't what the same model predicts here (IoU {same:.3f}).")
    dice = float(measure(answer.mask, known.mask)[DICE])
    if dice < known.dice - WORST_LOSS:
        raise SmokeError(f"The served mask of {known.name} has Dice {dice:.3f}; the gate measured {known.dice:.3f}.")
    limit = LoopSettings.read().wms_smoke_latency_s
    if answer.seconds > limit:
        raise SmokeError(f"{known.name} took {answer.seconds:.2f} s; WMS_SMOKE_LATENCY_S allows {limit:g} s.")
    return dice


def _go_back(context: RunContext, version: int, reason: str) -> str:
    """Roll the registry and the deployment back; returns a sentence about the result."""
    promotions = context.promotions()
    head = promotions.settle().chain.head
    if head is None or head.to_version != version:
        return "Production is another version by now; it was left as it is."
    try:
        proposal = promotion.propose_rollback(promotions, reason=f"{SMOKE}{reason[:300]}")
    except UsageError:
        return f"Version {version} is the first one, so there is nothing to roll back to: mend it before it's deployed."
    if isinstance(proposal, Proposal):
        proposal = promotion.execute(promotions, proposal, who=who())
    back = proposal.entry.to_version
    served = context.cloud.roll_back() if _serves(context, version) else None
    also = f" and served again as version {served}" if served is not None else ""
    return f"Version {back} is Production again{also}."


def _serves(context: RunContext, version: int) -> bool:
    import httpx

    found = context.cloud.endpoints()
    if found is None or found.service is None:
        return False
    try:
        answer = parse_json(httpx.get(f"{found.service}/version", timeout=10).content)
        return bool(answer.get("version") == version)
    except (httpx.HTTPError, ValueError, AttributeError):
        # A silent service may be the broken new version, so it's rolled back.
        return True


def _entry(context: RunContext, version: int) -> LedgerEntry:
    context.promotions().settle()  # a ledger of another checkout may lack the newest entry
    found = [entry for entry in Ledger(context.workspace / MODELS).entries() if entry.to_version == version]
    if not found:
        raise PipelineError(f"The ledger has no version {version}; run the step promote first.")
    return found[-1]


def _model(context: RunContext, entry: LedgerEntry) -> Path:
    """The model's files from the registry, in the run's folder."""
    folder = context.folder / "model"
    for name in FILES:
        # Of an earlier try only the weights are kept, if their hash is the ledger's; the other files are read again.
        if not (folder / name).is_file() or name != FILES[0] or sha256_file(folder / name) != entry.weights_sha256:
            write_atomic(folder / name, context.registry().read_artifact(entry.run_id, f"model/{name}"))
    for name, content in read_documents(context.registry(), entry.run_id).items():
        write_atomic(folder / name, content)
    ship(folder, entry)
    return folder


def _known_photo(context: RunContext) -> Known:
    """The test photo on which the gate found the new model best: only the deployment can spoil the result."""
    path = context.folder / "gate.json"
    try:
        content = read_regular(path)
    except OSError as error:
        raise PipelineError(f"{path} can't be read ({error}); run the step gate again.") from error
    report = GateReport.parse(content, str(path), PipelineError, "run the step gate again")
    best = max(report.images, key=lambda image: image.challenger.dice)
    pair: Pair | None = next((one for one in find_pairs(context.data) if one.stem == best.stem), None)
    if pair is None:
        raise PipelineError(f"{context.data} lacks the test photo {best.stem}; run the step gate again.")
    _, mask = read_pair(pair, context.config().data)
    return Known(pair.image.name, pair.image, mask > 127, best.challenger.dice)
