"""Fixtures for tests of the service; a test module has them by `pytest_plugins = ["serving_fixtures"]`."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from serving_workshop import app_of, export, photo, promote

from wms.inference.predictor import Predictor


@pytest.fixture(scope="session")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with version 3's files and a ledger that says so; about half of `photo()` is strip. Don't change it."""
    folder = tmp_path_factory.mktemp("promoted")
    pixels = np.asarray(Image.open(io.BytesIO(photo())))
    level = float(np.median(Predictor(export(folder), threads=1).probabilities(pixels)))
    export(folder, threshold=round(level, 4))
    promote(folder, folder, 3)
    return folder


@pytest.fixture
def own(promoted: Path, tmp_path: Path) -> Path:
    """A copy of `promoted` that a test may change."""
    return Path(shutil.copytree(promoted, tmp_path / "models"))


@pytest.fixture(scope="session")
def app(promoted: Path) -> FastAPI:
    """A healthy app, for tests that don't look at its counts alone."""
    return app_of(promoted)
