"""The U-Net's contract: shapes, parameters, documented keys."""

import re

import pytest
import torch

from wms.models import unet
from wms.models.unet import UNet


def test_parameters_and_shape_of_record():
    model = UNet().build()
    assert sum(p.numel() for p in model.parameters()) == UNet().parameters == 1_965_569
    with torch.inference_mode():
        assert model.eval()(torch.rand(1, 3, 512, 512)).shape == (1, 1, 512, 512)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 80), (112, 64)])
def test_any_multiple_of_16_works(height, width):
    with torch.inference_mode():
        assert UNet().build().eval()(torch.rand(2, 3, height, width)).shape == (2, 1, height, width)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="multiples of 16"):
        UNet().build()(torch.rand(1, 3, 100, 64))


def test_every_key_is_documented():
    normal = r"[14]\.(weight|bias|running_mean|running_var|num_batches_tracked)"
    documented = rf"(encoder\.[0-4]|decoder\.[0-3])\.([03]\.(weight|bias)|{normal})|head\.(weight|bias)"
    assert all(re.fullmatch(documented, key) for key in UNet().build().state_dict())
    assert "encoder.k.{0,3}" in (unet.__doc__ or "")
