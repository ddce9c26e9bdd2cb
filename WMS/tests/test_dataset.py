"""Augmentation, cache, and the order in which images are seen."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import config_in, photos

from wms.config import AugmentationConfig
from wms.data import cache as cache_module
from wms.data.augment import augment, generator_for, plain
from wms.data.dataset import EpochBatches, MeterDataset
from wms.data.hashes import hash_files
from wms.training.prepare import load_samples

SHA = "ab" * 32
STRONG = AugmentationConfig(
    horizontal_flip=0.5, vertical_flip=0.5, transpose=0.5, rotation=1.0, rotation_degrees=30, zoom=(0.7, 1.5),
    aspect=0.2, shift=0.1, colour=1.0, brightness=0.4, contrast=0.4, saturation=0.5, tint=0.2, gamma=0.3,
    noise=0.5, noise_std=0.1, blur=0.5, blur_sigma=1.5,
)  # fmt: skip


@given(
    count=st.integers(2, 200),
    batch=st.integers(2, 16),
    world=st.integers(1, 4),
    epoch=st.integers(1, 99),
    data=st.data(),
)
@settings(max_examples=200, deadline=None)
def test_each_image_exactly_once_over_all_processes(count, batch, world, epoch, data):
    if count < world or batch < world:
        return
    plans = [
        EpochBatches(count, batch_size=batch, seed=3, epoch=epoch, rank=rank, world=world) for rank in range(world)
    ]
    parts = [list(plan) for plan in plans]
    assert Counter(i for part in parts for b in part for i in b) == Counter(range(count))
    assert len({len(part) for part in parts}) == 1, "every process takes the same number of steps"
    assert all(b for part in parts for b in part), "no process is left without an image"
    assert [sum(len(part[k]) for part in parts) for k in range(len(parts[0]))] == plans[0].sizes
    done = data.draw(st.integers(0, len(parts[0])))
    resumed = EpochBatches(count, batch_size=batch, seed=3, epoch=epoch, world=world, skip=done)
    assert list(resumed) == parts[0][done:]


def test_order_changes_with_the_epoch_and_the_seed():
    orders = {
        tuple(i for b in EpochBatches(50, batch_size=8, seed=s, epoch=e) for i in b) for s in (0, 1) for e in (1, 2)
    }
    assert len(orders) == 4


def test_augmentation_is_a_function_of_seed_epoch_and_image():
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    mask = torch.zeros(1, 64, 64, dtype=torch.uint8)

    def once(seed=0, epoch=1, sha=SHA):
        torch.rand(1)  # the global random state must not matter
        return augment(image, mask, 32, STRONG, generator_for(seed, epoch, sha))[0]

    assert torch.equal(once(), once())
    assert not torch.equal(once(), once(seed=1))
    assert not torch.equal(once(), once(epoch=2))
    assert not torch.equal(once(), once(sha="cd" * 32))


@pytest.mark.parametrize("epoch", range(12))
def test_image_and_mask_move_together(epoch):
    """A white box on black is its own mask: after any geometry the two must still agree."""
    image = torch.zeros(3, 96, 96, dtype=torch.uint8)
    image[:, 30:50, 20:70] = 255
    geometry = STRONG.model_copy(update={"colour": 0.0, "noise": 0.0, "blur": 0.0})
    moved, mask = augment(image, image[:1], 64, geometry, generator_for(0, epoch, SHA))
    assert moved.shape == (3, 64, 64)
    assert mask.shape == (1, 64, 64)
    assert mask.sum() > 50
    assert (moved.mean(0) - mask[0]).abs().max() < 0.02


@pytest.mark.parametrize("epoch", range(12))
def test_a_larger_mask_shows_the_same_place(epoch):
    """Shrunk to the image's size it is the mask that comes without enlarging, but for the edges' rounding."""
    image = torch.zeros(3, 128, 128, dtype=torch.uint8)
    image[:, 40:70, 30:100] = 255
    moved, small = augment(image, image[:1], 64, STRONG, generator_for(0, epoch, SHA))
    again, large = augment(image, image[:1], 64, STRONG, generator_for(0, epoch, SHA), mask_size=128)
    assert torch.equal(moved, again)
    assert large.shape == (1, 128, 128)
    shrunk = torch.nn.functional.avg_pool2d(large, 2)
    assert (shrunk - small).abs().mean() < 0.01

    def centre(mask):
        rows = torch.arange(64.0)
        return torch.stack([(mask.sum(2) * rows).sum(), (mask.sum(1) * rows).sum()]) / mask.sum()

    assert torch.allclose(centre(shrunk), centre(small), atol=0.1)


def test_augmented_values_stay_in_range():
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    for epoch in range(20):
        pixels, mask = augment(image, image[:1], 48, STRONG, generator_for(0, epoch, SHA))
        assert pixels.dtype == mask.dtype == torch.float32
        assert pixels.min() >= 0
        assert pixels.max() <= 1
        assert mask.min() >= 0
        assert mask.max() <= 1


def test_some_pictures_lose_their_colours_and_the_others_stay_what_they_were():
    image, mask = torch.zeros(3, 32, 32, dtype=torch.uint8), torch.zeros(1, 32, 32, dtype=torch.uint8)
    image[0], image[2] = 200, 40  # strongly red
    grey = 0
    for epoch in range(60):
        before, some, every = (
            augment(image, mask, 32, AugmentationConfig(colour=1.0, grey=share), generator_for(0, epoch, "ab" * 32))[0]
            for share in (0.0, 0.3, 1.0)
        )
        assert torch.equal(before, image.float() / 255)
        assert torch.allclose(every, before.mean(dim=0).expand(3, -1, -1))
        assert torch.equal(some, before) or torch.equal(some, every)
        grey += int(torch.equal(some, every))
    assert 8 <= grey <= 28  # 18 expected; fixed seeds


def test_no_augmentation_is_the_plain_picture():
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    off = AugmentationConfig()
    same = augment(image, image[:1], 64, off, generator_for(0, 1, SHA))
    assert torch.equal(same[0], plain(image, image[:1], 64)[0])


def test_cache_decodes_once_and_mends_itself(tmp_path, monkeypatch):
    photos(tmp_path, 6)
    config = config_in(tmp_path)
    first = MeterDataset(load_samples(config), config, size=64, epoch=None)[0]
    decoded = []
    real = cache_module.read_pair
    monkeypatch.setattr(cache_module, "read_pair", lambda *a: decoded.append(a) or real(*a))
    again = MeterDataset(load_samples(config), config, size=64, epoch=None)[0]
    assert torch.equal(first[0], again[0])
    assert decoded == []
    for entry in (tmp_path / "cache").rglob("*.npy"):
        entry.write_bytes(entry.read_bytes()[:100])  # cut off
    mended = MeterDataset(load_samples(config), config, size=64, epoch=None)[0]
    assert torch.equal(first[0], mended[0])
    assert len(decoded) == 6


def test_hashes_are_remembered_until_a_file_changes(tmp_path):
    path, memory = tmp_path / "a", tmp_path / "hashes.json"
    path.write_bytes(b"one")
    before = hash_files([path], memory)[path]
    assert hash_files([path], memory)[path] == before
    path.write_bytes(b"three")
    assert hash_files([path], memory)[path] != before
    memory.write_text("not json")
    assert len(hash_files([path], memory)[path]) == 64


def test_mask_keeps_its_share_of_a_pixel(tmp_path):
    photos(tmp_path, 6)
    config = config_in(tmp_path)
    _, mask = MeterDataset(load_samples(config), config, size=32, epoch=None)[0]
    assert mask.shape == (1, 32, 32)
    assert np.unique(mask.numpy()).size > 2, "edges are soft: the strip's share of each pixel"
