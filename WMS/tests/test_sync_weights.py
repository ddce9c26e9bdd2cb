"""A production.pth is read without torch and without running anything in it; what isn't a U-Net is refused."""

from __future__ import annotations

import collections
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from wms.errors import ModelDamagedError
from wms.models.unet import UNet
from wms.registry.weights import check_architecture, read_shapes

SMALL = (2, 3, 4, 5, 6)


def saved(value: Any, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **settings)
    return buffer.getvalue()


def card(channels: tuple[int, ...] = SMALL) -> dict[str, Any]:
    return {"channels": list(channels), "parameters": UNet(channels=channels).parameters}


@pytest.mark.parametrize("channels", [UNet().channels, SMALL, (6, 8, 12, 16, 24)])
def test_shapes_are_those_of_the_real_network(channels: tuple[int, ...]) -> None:
    model = UNet(channels=channels).build()
    real = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert UNet(channels=channels).shapes() == real
    content = saved(dict(model.state_dict()))
    assert read_shapes(content, "production.pth") == real
    assert UNet(channels=channels).parameters == sum(parameter.numel() for parameter in model.parameters())
    check_architecture(content, "production.pth", card(channels))


def test_another_architecture_is_refused_by_its_first_tensor() -> None:
    content = saved(dict(UNet(channels=(2, 3, 4, 5, 8)).build().state_dict()))
    with pytest.raises(ModelDamagedError, match=r"decoder\.0\.0\.weight should be \(5, 11, 3, 3\), but is \(5, 13"):
        check_architecture(content, "production.pth", card())
    state = dict(UNet(channels=SMALL).build().state_dict())
    del state["head.bias"]
    with pytest.raises(ModelDamagedError, match=r"head\.bias should be \(1,\), but is absent"):
        check_architecture(saved(state), "production.pth", card())
    with pytest.raises(ModelDamagedError, match="parameters, but its card says 7"):
        check_architecture(saved(dict(UNet(channels=SMALL).build().state_dict())), "x", {**card(), "parameters": 7})
    for channels in (None, [], [2], ["2", "3"], [0, 1]):
        with pytest.raises(ModelDamagedError, match="names no channels"):
            check_architecture(content, "x", {"channels": channels})


class Poison:
    """What a malicious pickle does: it calls a function while it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_code_in_the_file_is_never_run(tmp_path: Path) -> None:
    target = tmp_path / "made by the file"
    content = saved({"head.bias": Poison(target)})
    with pytest.raises(ModelDamagedError, match=r"asks for (posix|nt)\.mkdir"):
        read_shapes(content, "production.pth")
    assert not target.exists()


def test_what_is_no_plain_state_dict() -> None:
    state = dict(UNet(channels=SMALL).build().state_dict())
    good = saved(state)
    refused = {
        "nothing": b"",
        "text": b"not a model",
        "cut": good[: len(good) // 2],
        "the old format": saved(state, _use_new_zipfile_serialization=False),
        "a whole module": saved(nn.Linear(2, 2)),
        "a checkpoint": saved({"model": state, "epoch": 3}),
        "half precision": saved({key: value.half() for key, value in state.items()}),
        "a list": saved([torch.zeros(2)]),
    }
    for what, content in refused.items():
        with pytest.raises(ModelDamagedError, match="isn't a plain state_dict"):
            read_shapes(content, what)
    ordered = collections.OrderedDict(state)
    assert read_shapes(saved(ordered), "an ordered one") == read_shapes(good, "a plain one")


@pytest.mark.attack(
    "a hostile file", "a pickle whose keys take for ever to hash, or that sets a tensor's shape", "keys are text"
)
@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (b"\x80\x02})" + b"2\x86" * 60 + b"Ns.", "a key that is no text"),
        (b"\x80\x02}()" + b"2\x86" * 60 + b"Nu.", "a key that is no text"),
        (b"\x80\x04\x8f()" + b"2\x86" * 60 + b"\x90.", "isn't a plain state_dict"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x00K\x00tR}X\x05\x00\x00\x00shapeK\x01sb.", "isn't a plain"),
    ],
)
def test_a_pickle_that_takes_for_ever_is_refused_at_once(pickled: bytes, reason: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("production/data.pkl", pickled)
    with pytest.raises(ModelDamagedError, match=reason):
        read_shapes(buffer.getvalue(), "production.pth")
