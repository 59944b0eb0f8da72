"""The LightningDataModule: an endless, reproducible stream of tiles, and whole images to be judged by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

from cmlcore.training.recipe import Sample


class Stream(Sampler[list[int]]):
    """Numbers of the tiles of each step, for one of several ranks, from where the training stands.

    Step ``s`` of rank ``r`` takes ``batch`` tiles from number ``(s * ranks + r) * batch`` on: no two ranks
    see the same tile, and a training that goes on sees those it would have seen.
    """

    def __init__(
        self, batch: int, steps: int, taken: Callable[[], int], rank: int = 0, ranks: int = 1
    ) -> None:
        """``steps`` are given at a time, from the one that ``taken`` says is next."""
        self._batch, self._steps, self._taken = batch, steps, taken
        self._rank, self._ranks = rank, ranks

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[list[int]]:
        first = self._taken()
        for step in range(first, first + self._steps):
            start = (step * self._ranks + self._rank) * self._batch
            yield list(range(start, start + self._batch))


class _Prepared(Dataset[Sample]):
    """Tiles as the recipe wants them, made in the loader's processes."""

    def __init__(self, tiles: Dataset[Sample], prepare: Callable[[Sample], Sample]) -> None:
        self._tiles, self._prepare = tiles, prepare

    def __getitem__(self, index: int) -> Sample:
        return self._prepare(self._tiles[index])


class CellData(pl.LightningDataModule):
    """Train tiles and val images for ``CellModule``; a batch is a list, as tiles differ in their cells."""

    def __init__(
        self,
        tiles: Dataset[Sample],
        val: Dataset[Sample] | None,
        prepare: Callable[[Sample], Sample],
        batch: int,
        every: int,
        workers: int,
    ) -> None:
        """``tiles`` is the stream, by number; ``every`` steps make one of Lightning's epochs."""
        super().__init__()
        self._tiles, self._val, self._prepare = tiles, val, prepare
        self._batch, self._every, self._workers = batch, every, workers

    def train_dataloader(self) -> DataLoader[Sample]:
        """The stream from the trainer's step on."""
        trainer: Any = self.trainer
        stream = Stream(
            self._batch, self._every, lambda: trainer.global_step, trainer.global_rank, trainer.world_size
        )
        return DataLoader(
            _Prepared(self._tiles, self._prepare),
            batch_sampler=stream,
            num_workers=self._workers,
            collate_fn=_as_list,
            worker_init_fn=_one_thread,
            prefetch_factor=4 if self._workers else None,
            persistent_workers=self._workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Sample] | list[Any]:
        """One image at a time; several ranks share the images."""
        if self._val is None:
            return []
        trainer: Any = self.trainer
        n = len(self._val)  # type: ignore[arg-type]
        own = list(range(trainer.global_rank, n, trainer.world_size)) or [0]  # no rank may stand idle
        return DataLoader(Subset(self._val, own), batch_size=1, collate_fn=_as_list)


def _as_list(samples: list[Sample]) -> list[Sample]:
    return samples


def _one_thread(_worker: int) -> None:
    """Loader processes must not fight the training for cores."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
