"""Paths and branch names in the repository, as users see them."""

from __future__ import annotations

from wms.project import project

INBOX = "WMS/data/training"
"""The folder in which people commit new photos and masks: its images/ and masks/."""

DATA_SET = "WMS/data/dataset"
"""The folder into which `dvc pull` brings the whole data set, beside its two .dvc files."""

KINDS = ("images", "masks")
SPLITS = "WMS/data/splits.jsonl"
ERASED = "WMS/data/erased.jsonl"
"""The tombstones of erased photos, a line each."""

RECIPE = "WMS/configs/train.yaml"
"""The recipe of record, whose settings of the data hold wherever none is named."""

MODELS = "WMS/models"
METADATA = "model-metadata.json"
DVC_CONFIG = ".dvc/config"
DATA_BRANCHES = "data/"
LOOP = ".loop"
"""The folder of a clone's loop, with a folder for each target inside."""


def main_branch() -> str:
    """Return the name of the branch into which data branches are merged, which wms.toml may name."""
    return project().main_branch


def pointer(kind: str) -> str:
    """Return the path of a .dvc file.

    >>> pointer("images")
    'WMS/data/dataset/images.dvc'
    """
    return f"{DATA_SET}/{kind}.dvc"


def inbox(kind: str) -> str:
    """Return the folder for new photos or new masks."""
    return f"{INBOX}/{kind}"
