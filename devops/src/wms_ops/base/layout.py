"""Where things lie in the repository, by the names that users see."""

from __future__ import annotations

INBOX = "WMS/data/training"
"""Where people commit new photos and masks: its images/ and masks/."""

DATA_SET = "WMS/data/dataset"
"""Where `dvc pull` brings the whole data set, beside its two .dvc files."""

KINDS = ("images", "masks")
SPLITS = "WMS/data/splits.jsonl"
MODELS = "WMS/models"
METADATA = "model-metadata.json"
DVC_CONFIG = ".dvc/config"
MAIN = "main"
DATA_BRANCHES = "data/"


def pointer(kind: str) -> str:
    """The path of a .dvc file."""
    return f"{DATA_SET}/{kind}.dvc"


def inbox(kind: str) -> str:
    """The folder for new photos or new masks."""
    return f"{INBOX}/{kind}"
