"""The sections of a recipe: typed, frozen, with units and checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.config import JsonDict

from wms.metrics import THRESHOLD
from wms.project import project

SMALLEST_SIDE = 16
"""Pixels: a smaller picture has no strip to find."""

Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(ge=0, lt=1)]
UNHASHED: JsonDict = {"hash": False}
HASHED_IF_CHANGED: JsonDict = {"hash": "changed"}


def unhashed(default: Any, description: str, **limits: Any) -> Any:
    """A field that says where or how fast, never what: the field stays out of the hash."""
    return Field(default, description=description, json_schema_extra=UNHASHED, **limits)


def later(default: Any, description: str, **limits: Any) -> Any:
    """A decision that came later: in the hash once a recipe takes the decision, so that older recipes keep theirs."""
    return Field(default, description=description, json_schema_extra=HASHED_IF_CHANGED, **limits)


class Section(BaseModel):
    """Base of all sections: frozen, strict about unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse YAML's yes and no where a number belongs: Python would silently read them as 1 and 0."""
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation in (int, float):
            raise ValueError("a number is wanted here")
        return value


class DataConfig(Section):
    """Where the pairs lie and how they are prepared."""

    folder: Path = unhashed(Path("WMS/data/dataset"), "Folder with images/ and masks/.")
    splits_file: Path = unhashed(Path("WMS/data/splits.jsonl"), "Append-only record of each image's split.")
    cache_folder: Path = unhashed(Path(".cache/decoded"), "Decoded, resized pairs by content hash.")
    cache: bool = unhashed(True, "Keep decoded pairs on disk; false decodes at every use.")
    cache_size: int = Field(default=512, ge=SMALLEST_SIDE, description="Side of cached training images, pixels.")
    max_megapixels: float = Field(default=50.0, gt=0, description="Larger images are refused undecoded.")
    max_grey_fraction: Share = Field(
        default=0.01, description="Share of a mask's pixels that may be grey (64..191) before it is refused."
    )
    near_duplicate_bits: int = Field(
        default=24, ge=0, le=256, description="Perceptual distance up to which two images count as one."
    )


class AugmentationConfig(Section):
    """Joint changes of image and mask; probabilities per image, angles in degrees, lengths in image sides."""

    horizontal_flip: Share = 0.0
    vertical_flip: Share = 0.0
    transpose: Share = 0.0
    rotation: Share = 0.0
    rotation_degrees: float = Field(default=0.0, ge=0, le=180)
    zoom: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest magnification; below 1 the photo shrinks and the border is black."""
    aspect: Part = Field(default=0.0, description="Largest change of the aspect ratio, log scale.")
    shift: float = Field(default=0.0, ge=0, le=0.5, description="Largest shift in image sides.")
    close_up: Share = later(
        0.0, "Probability of a window about the strip instead of the photo: see evaluation.second_look."
    )
    close_up_fill: tuple[float, float] = later(
        (0.3, 0.7), "Smallest and largest share of such a window's side that the strip takes."
    )
    colour: Share = 0.0
    brightness: Part = Field(default=0.0, description="Factor drawn from 1 ± this.")
    contrast: Part = Field(default=0.0, description="Factor drawn from 1 ± this.")
    saturation: Share = Field(default=0.0, description="Factor drawn from 1 ± this.")
    tint: Part = Field(default=0.0, description="Factor per channel drawn from 1 ± this.")
    grey: Share = later(0.0, "Share of those pictures that lose their colours altogether.")
    gamma: Part = Field(default=0.0, description="Exponent drawn from 1 ± this.")
    noise: Share = 0.0
    noise_std: float = Field(default=0.0, ge=0, le=0.5, description="Largest standard deviation, of 1.")
    blur: Share = 0.0
    blur_sigma: float = Field(default=0.0, ge=0, le=5, description="Largest standard deviation, pixels.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = self.zoom
        if not 0.1 <= low <= high <= 10:
            raise ValueError(f"zoom must be [low, high] with 0.1 <= low <= high <= 10, not {list(self.zoom)}")
        low, high = self.close_up_fill
        if not 0.05 <= low <= high <= 1:
            raise ValueError(
                f"close_up_fill must be [low, high] with 0.05 <= low <= high <= 1, not {list(self.close_up_fill)}"
            )
        return self


class LossConfig(Section):
    """Weighted sum of binary cross-entropy and soft Dice."""

    bce: float = Field(default=1.0, ge=0)
    dice: float = Field(default=1.0, ge=0)
    enlarge: int = later(
        1, "Logits are enlarged this many times and compared with a mask of that size, for finer edges.", ge=1, le=4
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.bce + self.dice == 0:
            raise ValueError("bce and dice are both 0, so nothing would be learned")
        return self


class OptimiserConfig(Section):
    """First-order optimiser."""

    name: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    weight_decay: float = Field(default=1e-2, ge=0, le=1)
    gradient_clip: float = Field(default=0.0, ge=0, description="Largest gradient norm; 0 is off.")


class ScheduleConfig(Section):
    """How the learning rate changes."""

    kind: Literal["cosine", "plateau"] = "cosine"
    warmup: Part = Field(default=0.0, description="Share of the whole compute spent rising.")
    factor: float = Field(default=0.5, gt=0, lt=1, description="Plateau: multiply by this.")
    patience: int = Field(default=3, ge=0, description="Plateau: epochs without improvement.")
    minimum: float = Field(default=0.0, ge=0, description="Smallest learning rate.")


class ResolutionStage(Section):
    """Some epochs at one resolution."""

    size: int = Field(ge=SMALLEST_SIDE, le=4096, description="Side of the square input, pixels.")
    epochs: int = Field(ge=1)
    restart: Share = later(
        0.0, "A new cosine begins here, from this share of the learning rate; 0 goes on with the old one."
    )


class TrainingConfig(Section):
    """The loop: resolution schedule, stopping, precision, checkpoints."""

    stages: tuple[ResolutionStage, ...] = Field(min_length=1)
    batch_size: int = Field(default=8, ge=1, description="Images a step over all processes together.")
    ema_decay: Part = Field(
        default=0.0, description="Exponential mean of the weights that is scored and exported; 0 off."
    )
    early_stopping: int = Field(
        default=0, ge=0, description="Epochs with neither a better validation Dice nor a lower loss; 0 off."
    )
    evaluate_every: int = Field(default=1, ge=1, description="Epochs between validations.")
    attempts: int = later(
        1,
        "Seeds trained one after the other, from `seed` on; validation chooses, the chosen one alone is tested.",
        ge=1,
        le=100,
    )
    evaluate_train: bool = Field(default=False, description="Score the training split too at each validation.")
    evaluate_test: bool = Field(default=False, description="Score the test split too; never used to choose.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="float32", description="auto: bfloat16 where the processor multiplies it natively, else float32."
    )
    channels_last: bool = False
    workers: int = unhashed(0, "Loader processes per rank.", ge=0, le=64)
    keep_every: int = unhashed(10, "Keep every k-th epoch's checkpoint; 0 none.", ge=0)
    checkpoint_seconds: float = unhashed(
        30.0, "Seconds between checkpoints, within an epoch too; 0 saves after every step.", ge=0
    )

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def size_at(self, epoch: int) -> int:
        """Input side in pixels at `epoch` (1-based)."""
        for stage in self.stages:
            epoch -= stage.epochs
            if epoch <= 0:
                return stage.size
        return self.stages[-1].size


class EvaluationConfig(Section):
    """How masks are scored, the same for every recipe."""

    grid: int = Field(default=512, ge=SMALLEST_SIDE, description="Side of the square grid of Dice and IoU, pixels.")
    threshold: float = Field(default=THRESHOLD, gt=0, lt=1, description="Probability above which a pixel is strip.")
    mirror: bool = Field(
        default=False, description="Average the logits of a photo and its three mirror images; four times the work."
    )
    second_look: Part = later(
        0.0, "Look again at a window about the strip, of whose side it takes this share; 0 off; twice the work."
    )
    one_strip: bool = later(
        False, "Of several areas only the one with the most probability is strip: right where each mask has one."
    )


class TrackingConfig(Section):
    """Where metrics go beside the run folder."""

    experiment: str = Field(default_factory=lambda: project().experiment, min_length=1)
