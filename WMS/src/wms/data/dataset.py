"""The torch data set, and the order in which every process reads the samples."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from wms.config import RunConfig
from wms.data.augment import augment, generator_for, plain
from wms.data.cache import load_prepared
from wms.data.pairs import Sample


class MeterDataset(Dataset[tuple[Tensor, Tensor]]):
    """Pairs as tensors: image (3, size, size) and mask (1, size, size), float32 in 0..1.

    With `epoch` the images are augmented for that epoch, and the mask has the loss's size (loss.enlarge); without,
    images are prepared exactly as for prediction.
    """

    def __init__(self, samples: Sequence[Sample], config: RunConfig, *, size: int, epoch: int | None) -> None:
        self.samples = samples
        self.config = config
        self.size = size
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if self.epoch is None:
            return plain(*self._load(index, self.size), self.size)
        sample = self.samples[index]
        rng = generator_for(self.config.seed, self.epoch, sample.image_sha256)
        image, mask = self._load(index, self.config.data.cache_size)
        return augment(
            image, mask, self.size, self.config.augmentation, rng, mask_size=self.size * self.config.loss.enlarge
        )

    def _load(self, index: int, size: int) -> tuple[Tensor, Tensor]:
        tensor = torch.from_numpy(load_prepared(self.samples[index], size=size, config=self.config.data))
        return tensor[:3], tensor[3:]


class EpochBatches(Sampler[list[int]]):
    """Batches of an epoch for one of `world` processes; each image comes exactly once over all processes.

    The order is a permutation of (seed, epoch). Each global batch is dealt out to the processes in turn. A last batch
    with fewer images than processes is joined to the previous batch, so that every process has an image.
    """

    def __init__(
        self, count: int, *, batch_size: int, seed: int, epoch: int, rank: int = 0, world: int = 1, skip: int = 0
    ) -> None:
        order = np.random.default_rng([seed, epoch]).permutation(count)
        cuts = [*list(range(0, count, batch_size)), count]
        if len(cuts) > 2 and cuts[-1] - cuts[-2] < max(world, 2):  # batch norm wants two images as well
            del cuts[-2]
        self._global = [order[a:b].tolist() for a, b in itertools.pairwise(cuts)]
        self._rank, self._world, self._skip = rank, world, skip

    @property
    def sizes(self) -> list[int]:
        """Images of each global batch, over all processes."""
        return [len(batch) for batch in self._global]

    def __len__(self) -> int:
        return len(self._global) - self._skip

    def __iter__(self) -> Iterator[list[int]]:
        # A resumed epoch skips the batches that the killed run has trained on.
        for batch in self._global[self._skip :]:
            yield batch[self._rank :: self._world]
