"""The second look: the right window, and nothing moved by a fraction of a pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from small import config_in, random_network

from wms.config import AugmentationConfig
from wms.data.augment import augment, generator_for
from wms.data.images import resize_image, to_input
from wms.inference.export import export_model
from wms.inference.predictor import Predictor
from wms.inference.second_look import SMALLEST, Box, Looked, blend, find_box, one_strip, window
from wms.models.unet import UNet
from wms.training.evaluation import EvaluationCase, mirrored, predict_masks, scoring_mode

CHANNELS = (4, 5, 6, 7, 8)


def areas(*boxes: tuple[int, int, int, int], size: int = 64) -> NDArray[np.float32]:
    """Logits of 4 in each (left, top, right, bottom), -4 elsewhere."""
    logits = np.full((size, size), -4, dtype=np.float32)
    for left, top, right, bottom in boxes:
        logits[top:bottom, left:right] = 4
    return logits


def test_the_window_has_the_strip_in_its_middle() -> None:
    box = find_box(areas((20, 30, 36, 34)), threshold=0.5, fill=0.5)
    assert box is not None
    assert box.side == pytest.approx(16 / 64 / 0.5)
    assert box.left + box.side / 2 == pytest.approx(28 / 64)
    assert box.top + box.side / 2 == pytest.approx(32 / 64)


def test_a_strip_at_the_edge_moves_the_window_inside() -> None:
    box = find_box(areas((0, 60, 16, 64)), threshold=0.5, fill=0.5)
    assert box == Box(0.0, 0.5, 0.5)


def test_the_larger_of_two_areas_is_looked_at_and_a_gap_does_not_cut_a_strip() -> None:
    small, left, right = (2, 2, 8, 6), (30, 40, 40, 44), (42, 40, 52, 44)  # the last two lie 2 pixels apart
    box = find_box(areas(small, left, right), threshold=0.5, fill=0.5)
    assert box is not None
    assert box.left + box.side / 2 == pytest.approx(41 / 64)
    assert box.side == pytest.approx(22 / 64 / 0.5)


@pytest.mark.parametrize(
    ("logits", "threshold"),
    [
        (areas(), 0.5),
        (areas((0, 0, 40, 10)), 0.5),  # fills its share of the photo already
        (areas((20, 30, 36, 34)), 0.99),  # nothing is that certain: sigmoid(4) is 0.98
        (np.full((64, 64), np.nan, dtype=np.float32), 0.5),
    ],
)
def test_no_second_look_where_it_is_of_no_use(logits: NDArray[np.float32], threshold: float) -> None:
    assert find_box(logits, threshold=threshold, fill=0.5) is None


def test_a_speck_is_not_magnified_without_end() -> None:
    box = find_box(areas((30, 30, 31, 31)), threshold=0.5, fill=0.5)
    assert box is not None
    assert box.side == SMALLEST


def marked(*boxes: tuple[int, int, int, int], height: int = 90, width: int = 160) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), dtype=bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    return mask


STRIP, RED = (20, 30, 60, 40), (90, 60, 130, 80)  # 400 and 800 pixels


@pytest.mark.parametrize(("red", "left"), [(0.9, RED), (0.4, STRIP)])
def test_the_area_with_the_most_probability_is_the_strip(red: float, left: tuple[int, int, int, int]) -> None:
    probability = np.where(marked(RED), red, 0.9).astype(np.float32)
    assert np.array_equal(one_strip(marked(STRIP, RED), probability), marked(left))


def test_a_gap_does_not_cut_a_strip_in_two() -> None:
    glare = marked((20, 30, 40, 40), (43, 30, 63, 40))
    assert np.array_equal(one_strip(glare | marked((100, 80, 104, 84)), np.ones((90, 160), np.float32)), glare)


@pytest.mark.parametrize("shape", [(90, 160), (1, 1), (17, 400)])
def test_none_and_everything_stay_what_they_are(shape: tuple[int, int]) -> None:
    for mask in (np.zeros(shape, dtype=bool), np.ones(shape, dtype=bool)):
        assert np.array_equal(one_strip(mask, np.ones(shape, np.float32)), mask)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    side = draw(st.floats(0.15, 0.95))
    return Box(draw(st.floats(0, 1)) * (1 - side), draw(st.floats(0, 1)) * (1 - side), side)


@given(box=boxes(), width=st.integers(40, 400), height=st.integers(40, 400), size=st.sampled_from([32, 48, 64]))
@settings(deadline=None, max_examples=60)
def test_what_is_seen_again_lies_where_it_was(box: Box, width: int, height: int, size: int) -> None:
    """A photo whose brightness is a ramp, and a network that says what it sees: the place is then the value."""
    side = box.side
    across = np.linspace(0, 255, 512, dtype=np.float32)
    detail = np.stack(np.broadcast_arrays(across, across[:, None], across), axis=-1).astype(np.uint8)
    seen = window(detail, box, size)[0]
    for channel, axis, count in ((0, 1, width), (1, 0, height)):
        whole = np.full((height, width), -9, dtype=np.float32)
        blended = blend(whole, seen[channel], box)
        assert (whole == -9).all(), "the first look isn't changed in place"
        inside = blended > -9
        second = 2 * blended + 9  # the other half of the mean
        places = np.argwhere(inside)[:, axis]
        start = box.left if axis else box.top
        if not len(places):
            continue
        centre = (places + 0.5) / count
        assert (start - 1e-9 <= places / count).all()
        assert ((places + 1) / count <= start + side + 1e-9).all()
        # Within the outermost half pixel there is nothing to interpolate with; elsewhere two grey levels.
        near = (centre > start + side / size) & (centre < start + side - side / size)
        error = np.abs(second[inside] - centre)[near]
        assert error.max(initial=0) <= 2 / 255 + 0.5 / 512


def photo(seed: int, height: int = 96, width: int = 130) -> NDArray[np.uint8]:
    small = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("alone", [False, True])
def test_training_and_prediction_look_alike(tmp_path: Path, alone: bool) -> None:
    """The numbers that training scores are those that the exported model gives, second look and all."""
    changes = {"mirror": True, "second_look": 0.45, "threshold": 0.62, "grid": 64, "one_strip": alone}
    config = config_in(tmp_path, model={"channels": CHANNELS}, evaluation=changes, data={"cache_size": 128})
    model = random_network(CHANNELS).eval()
    images = [photo(seed) for seed in range(6)]
    cases = [
        EvaluationCase(
            torch.from_numpy(to_input(image, 48))[0],
            torch.zeros(1, 64, 64, dtype=torch.bool),
            resize_image(image, 128),
        )
        for image in images
    ]
    with torch.no_grad():
        # So that a few pixels of each photo count as strip, as on real ones.
        highest = [float(mirrored(model, case.image[None]).quantile(0.98)) for case in cases]
        model.head.bias += 0.49 - float(np.median(highest))  # 0.49 is the threshold's logit
    with scoring_mode(model):
        masks, logits = predict_masks(model, cases, config, device=torch.device("cpu"))
    shape = {"model": UNet(channels=CHANNELS), "input_size": 48, "threshold": 0.62, "mirror": True, "about": {}}
    export_model(model.state_dict(), tmp_path / "model", second_look=0.45, detail=128, one_strip=alone, **shape)
    predictor = Predictor(tmp_path / "model", threads=1)
    looks = [predictor.look(image) for image in images]
    assert sum(looked.box is not None for looked in looks) >= 2, "the test is about second looks"
    left_out = 0
    for image, looked, expected, mask in zip(images, looks, logits[:, 0].numpy(), masks[:, 0].numpy(), strict=True):
        enlarged = Image.fromarray(looked.first).resize((64, 64), Image.Resampling.BILINEAR)
        assert np.abs(looked.together(np.asarray(enlarged)) - expected).max() <= 1e-3
        probability = 1 / (1 + np.exp(-expected))
        found = probability > 0.62
        assert np.array_equal(mask, one_strip(found, probability) if alone else found)
        left_out += int(found.sum() - mask.sum())
        probabilities = predictor.probabilities(image)
        assert probabilities.shape == image.shape[:2]
        found = probabilities >= 0.62
        assert np.array_equal(predictor.predict(image), one_strip(found, probabilities) if alone else found)
    assert bool(left_out) == alone, "the photos have areas beside the strip"
    twice = next(looked for looked in looks if looked.second is not None)
    assert not np.array_equal(twice.together(np.zeros((64, 64), np.float32)), np.zeros((64, 64)))
    assert np.array_equal(Looked(twice.first).together(np.zeros((64, 64), np.float32)), np.zeros((64, 64)))


def test_a_model_without_a_second_look_is_written_as_before(tmp_path: Path) -> None:
    shape = {"model": UNet(channels=CHANNELS), "input_size": 48, "threshold": 0.5, "mirror": True, "about": {}}
    state = random_network(CHANNELS).state_dict()
    export_model(state, tmp_path / "a", **shape)
    export_model(state, tmp_path / "b", second_look=0.0, detail=640, one_strip=False, **shape)
    assert (tmp_path / "a/production.onnx").read_bytes() == (tmp_path / "b/production.onnx").read_bytes()
    assert not {"second_look", "one_strip"} & Predictor(tmp_path / "a").card.keys()
    with pytest.raises(ValueError, match="second_look"):
        export_model(state, tmp_path / "c", second_look=0.4, **shape)


def test_training_sees_close_ups_as_large_as_asked() -> None:
    """The strip's length in the window stays within close_up_fill, wherever the window is put."""
    image = torch.zeros(3, 320, 320, dtype=torch.uint8)
    image[:, 200:212, 60:140] = 255  # 80 pixels long
    config = AugmentationConfig(close_up=1.0, close_up_fill=(0.3, 0.6))
    lengths, middles = [], []
    for epoch in range(60):
        pixels, mask = augment(image, image[:1], 96, config, generator_for(0, epoch, "ab" * 32))
        assert torch.allclose(pixels.mean(0), mask[0], atol=0.02)
        columns = torch.nonzero((mask[0] > 0.5).any(dim=0)).flatten()
        assert len(columns), "some of the strip is always seen"
        cut = columns[0] == 0 or columns[-1] == 95
        lengths.append((float(columns[-1] - columns[0]) + 1) / 96)
        middles.append(float(columns.float().mean()) / 96)
        assert lengths[-1] <= 0.62
        assert cut or lengths[-1] >= 0.28
    assert max(lengths) - min(lengths) > 0.15
    assert max(middles) - min(middles) > 0.2
    without = torch.zeros_like(image)
    pixels, mask = augment(without, without[:1], 96, config, generator_for(0, 1, "ab" * 32))
    assert mask.sum() == 0
