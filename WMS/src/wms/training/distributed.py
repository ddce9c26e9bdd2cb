"""A single process or many: torchrun's environment as a small object.

Every method is a no-op for a single process, so the loop reads the same either way.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, distributed, nn

from wms.errors import DeviceError
from wms.settings import TorchrunSettings
from wms.training.core_share import CoreShare


@dataclass(frozen=True)
class Processes:
    """This process among all of the run: rank 0 alone writes. `cores` follows what other programs leave."""

    device: torch.device
    rank: int = 0
    world: int = 1
    cores: CoreShare = field(default_factory=lambda: CoreShare(is_fixed=True), repr=False, compare=False)
    _wrapped: list[nn.parallel.DistributedDataParallel] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def join(cls, device: str) -> Self:
        """Join the group that torchrun's variables describe, or stay alone without them.

        Raises DeviceError for a device that this machine lacks, UsageError for variables that contradict each other.
        """
        told = TorchrunSettings.read()
        world, chosen = told.world_size, pick_device(device, told.local_rank)
        if world > 1 and not distributed.is_initialized():
            if told.master_addr in ("127.0.0.1", "localhost") and sys.platform == "linux":
                # All on this machine: gloo would take the interface of the host's name, which a container
                # or a firewall may not let it reach, and wait for half an hour.
                os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
            distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        return cls(chosen, told.rank, world, CoreShare.of(chosen, world))

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when all processes have called this method."""
        if self.world > 1:
            distributed.barrier()

    def leave(self) -> None:
        """Leave the group."""
        # A reducer that outlives the group destroys it with the interpreter's lock held, and gloo's threads,
        # which that joins, may want the lock to free a tensor: some of such runs never ended.
        for model in self._wrapped:
            model.reducer = model.logger = None  # type: ignore[assignment]
        self._wrapped.clear()
        if self.world > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def total(self, *values: float) -> list[float]:
        """Sums over all processes, in float64."""
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def any(self, value: bool) -> bool:
        """Whether the value is true in any process."""
        return self.total(float(value))[0] > 0

    def gather(self, items: list[Any]) -> list[Any]:
        """The lists of all processes joined in the order of ranks, in every process."""
        if self.world == 1:
            return items
        parts: list[list[Any]] = [[] for _ in range(self.world)]
        distributed.all_gather_object(parts, items)
        return [item for part in parts for item in part]

    def same_weights(self, module: nn.Module) -> None:
        """Give every process rank 0's parameters and buffers: per-process batch statistics differ a little."""
        if self.world > 1:
            tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
            for tensor in tensors:
                distributed.broadcast(tensor.data, src=0)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model for training: DDP over several processes, with synchronised batch norm on GPUs."""
        if self.world == 1:
            return model
        if self.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
            wrapped = nn.parallel.DistributedDataParallel(model, device_ids=[self.device.index])
        else:
            wrapped = nn.parallel.DistributedDataParallel(model)
        self._wrapped.append(wrapped)
        return wrapped


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """The device for `auto` (this rank's GPU if present, else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises DeviceError for an unknown name or a missing GPU.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", local_rank % count) if count else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"Unknown device {name!r}; use auto, cpu, cuda or cuda:0.") from error
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise DeviceError(f"Device {name!r} isn't supported; use auto, cpu, cuda or cuda:0.")
    index = local_rank if device.index is None else device.index
    if index >= count:
        raise DeviceError(f"Device {name!r} isn't here: this machine has {count} usable GPUs; use --device cpu.")
    return torch.device("cuda", index)


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of convolutions for a recipe's `precision`; `auto` depends on the processor.

    A processor without bfloat16 instructions emulates them, which is slower than float32.
    """
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_multiplies_bfloat16()
    return torch.bfloat16 if native else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
