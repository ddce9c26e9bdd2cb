"""Losses, metrics and the learning rate against values worked out by hand."""

import math

import pytest
import torch
from small import config_in

from wms.config import LossConfig
from wms.losses import enlarge, per_image_loss
from wms.metrics import measure
from wms.training.schedule import Plateau, cosine_rate, progress_at


def test_dice_and_iou_by_hand():
    truth = torch.zeros(4, 1, 2, 4, dtype=torch.bool)
    predicted = truth.clone()
    truth[0, 0, 0], predicted[0, 0, 0, :2] = True, True  # half found
    truth[1], predicted[1] = True, False  # nothing found
    predicted[2, 0, 0, 0] = True  # something where nothing is
    dice, iou = measure(predicted[:, 0], truth[:, 0]).values()  # the last: nothing, and nothing found
    assert dice.tolist() == pytest.approx([4 / 6, 0, 0, 1])
    assert iou.tolist() == pytest.approx([0.5, 0, 0, 1])
    assert torch.allclose(iou, dice / (2 - dice))


def test_loss_is_a_mean_per_image_and_weighted():
    logits, target = torch.zeros(3, 1, 4, 4), torch.zeros(3, 1, 4, 4)
    target[1] = 1.0
    bce = per_image_loss(logits, target, LossConfig(bce=1, dice=0))
    assert bce.tolist() == pytest.approx([math.log(2)] * 3)
    dice = per_image_loss(logits, target, LossConfig(bce=0, dice=1))
    assert dice.tolist() == pytest.approx([1 - 1 / 9, 1 - 17 / 25, 1 - 1 / 9])
    both = per_image_loss(logits, target, LossConfig(bce=2, dice=3))
    assert torch.allclose(both, 2 * bce + 3 * dice)


def test_loss_survives_extreme_logits_in_half_precision():
    logits = torch.tensor([6e4, -6e4], dtype=torch.float16).reshape(1, 1, 1, 2)
    assert per_image_loss(logits, torch.ones(1, 1, 1, 2), LossConfig()).isfinite().all()


def test_enlarged_logits_tell_where_within_a_pixel_an_edge_runs():
    """An edge at a quarter of a pixel: on the network's grid both places look alike, enlarged they don't."""
    unsure, sure = ((torch.tensor([[[[4.0, 4.0, b, -4.0]]]])).expand(1, 1, 4, 4) for b in (-0.5, -4.0))
    edge = torch.tensor([1.0, 1, 1, 1, 1, 0, 0, 0]).expand(1, 1, 8, 8)  # runs at 2.5 pixels of the four
    config = LossConfig(enlarge=2)
    assert torch.equal(unsure > 0, sure > 0)
    losses = [per_image_loss(enlarge(x, config), edge, config).item() for x in (unsure, sure)]
    assert losses[0] < losses[1]


def test_logits_are_enlarged_as_scoring_enlarges_them():
    logits = torch.randn(2, 1, 8, 8, dtype=torch.float64).requires_grad_()
    assert torch.equal(enlarge(logits, LossConfig()), logits.float())
    wanted = torch.nn.functional.interpolate(logits.float(), size=(24, 24), mode="bilinear", align_corners=False)
    assert torch.allclose(enlarge(logits, LossConfig(enlarge=3)), wanted)
    target = torch.randint(0, 2, (2, 1, 16, 16)).double()
    double = LossConfig(enlarge=2)
    (gradient,) = torch.autograd.grad(per_image_loss(enlarge(logits, double), target, double).sum(), logits)
    nudge = torch.zeros_like(logits)
    nudge[0, 0, 3, 4] = 0.05
    ahead, behind = (per_image_loss(enlarge(logits + s * nudge, double), target, double).sum() for s in (1, -1))
    assert ((ahead - behind) / 0.1).item() == pytest.approx(gradient[0, 0, 3, 4].item(), rel=0.01, abs=1e-4)


def test_cosine_counts_compute_not_steps(tmp_path):
    config = config_in(tmp_path, schedule={"warmup": 0.1, "minimum": 1e-4})
    # Two epochs at 32 pixels and one at 48: 1024, 1024 and 2304 of 4352.
    assert progress_at(config, 3, 0.0) == pytest.approx(2048 / 4352)
    assert progress_at(config, 3, 1.0) == pytest.approx(1.0)
    assert cosine_rate(config, 1, 0.05 * 4352 / 1024) == pytest.approx(0.005)
    assert cosine_rate(config, 1, 0.1 * 4352 / 1024) == pytest.approx(0.01)
    assert cosine_rate(config, 3, 1.0) == pytest.approx(1e-4)


def test_a_longer_recipe_does_what_the_shorter_does_and_begins_anew(tmp_path):
    short = [{"size": 32, "epochs": 2}, {"size": 48, "epochs": 2}]
    more = [{"size": 64, "epochs": 1, "restart": 0.25}, {"size": 48, "epochs": 1}]
    one, two = (config_in(tmp_path, schedule={"warmup": 0.1}, training={"stages": s}) for s in (short, [*short, *more]))
    for epoch in range(1, 5):
        for share in (0.0, 0.3, 1.0):
            assert cosine_rate(one, epoch, share) == cosine_rate(two, epoch, share)
    assert cosine_rate(two, 4, 1.0) == pytest.approx(0, abs=1e-9)
    work = 64**2 + 48**2
    assert cosine_rate(two, 5, 0.0) == 0
    assert cosine_rate(two, 5, 0.1 * work / 64**2) == pytest.approx(0.0025)
    assert cosine_rate(two, 6, 0.0) == pytest.approx(0.0025 * (1 + math.cos(math.pi * (64**2 / work - 0.1) / 0.9)) / 2)
    assert cosine_rate(two, 6, 1.0) == pytest.approx(0, abs=1e-9)
    assert progress_at(two, 6, 1.0) == pytest.approx(1.0)


def test_plateau_matches_pytorch(tmp_path):
    config = config_in(tmp_path, schedule={"kind": "plateau", "factor": 0.5, "patience": 2, "minimum": 1e-3})
    losses = [1.0, 0.9, 0.95, 0.9, 0.91, 0.92, *[0.8] * 13]
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=0.01)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=2, min_lr=1e-3)
    ours = Plateau(0.01)
    for loss in losses:
        reference.step(loss)
        ours.update(loss, config)
        assert ours.rate == pytest.approx(optimiser.param_groups[0]["lr"])
