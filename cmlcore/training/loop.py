"""The training loop of both types: a budget, averaged weights, checkpoints to go on from."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset, Subset

from cmlcore.training.tiles import collate
from models.device import autocast


class Recipe(Protocol):
    """What the loop needs to know of a network."""

    name: str
    net: nn.Module

    def groups(self) -> list[dict[str, Any]]:
        """AdamW's parameter groups, each with its peak learning rate."""
        ...

    def prepare(self, sample: dict[str, Any]) -> dict[str, Any]:
        """What a loader process makes of a sample of ``CellTiles``."""
        ...

    def loss(self, samples: list[dict[str, Any]]) -> dict[str, Tensor]:
        """The parts of the loss; their sum is minimised."""
        ...

    def card(self) -> dict[str, Any]:
        """What is needed to build the network again."""
        ...


@dataclass(frozen=True)
class Budget:
    """How long and how to train.

    Attributes:
        minutes: wall time, all sittings together; the learning rate follows the share that is spent.
        steps: a limit on steps; the rate follows whichever of the two is further on.
        batch: tiles a step.
        warmup: share of the budget over which the rate rises.
        ema: decay of the averaged weights, which are what is kept.
        clip: limit of the gradient's norm.
        save_s: seconds between checkpoints.
        workers: loader processes.

    """

    minutes: float = 90.0
    steps: int = 1_000_000_000
    batch: int = 2
    warmup: float = 0.02
    ema: float = 0.99
    clip: float = 5.0
    save_s: float = 180.0
    workers: int = 1


class _Prepared(Dataset[dict[str, Any]]):
    """Samples as the recipe wants them, made in the loader's processes."""

    def __init__(self, tiles: Dataset[dict[str, Any]], recipe: Recipe) -> None:
        self.tiles, self.make = tiles, recipe.prepare

    def __len__(self) -> int:
        return len(self.tiles)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        torch.set_num_threads(1)
        return self.make(self.tiles[index])


def rate(progress: float, warmup: float) -> float:
    """Share of the peak learning rate: a linear rise, then half a cosine to 1 %."""
    if progress < warmup:
        return progress / warmup
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))


def averaging(decay: float) -> Callable[[Any, Any, Any], None]:
    """Running average of weights that forgets its start: the decay rises with the steps taken."""

    def average(averaged: list[Tensor], current: list[Tensor], taken: Tensor) -> None:
        n = int(taken)
        share = 1 - min(decay, (1 + n) / (10 + n))
        for old, new in zip(averaged, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new.to(old.dtype), share)
            else:
                old.copy_(new)

    return average


class Loop:
    """One training that can be left and taken up again; ``out`` holds all its state.

    Files in ``out``: ``checkpoint.pt`` (everything needed to go on), ``ema.pt`` (the averaged weights),
    ``log.jsonl`` (a line every 20 steps).
    """

    def __init__(self, recipe: Recipe, budget: Budget, out: Path, device: torch.device) -> None:
        self.recipe, self.budget, self.out, self.device = recipe, budget, out, device
        out.mkdir(parents=True, exist_ok=True)
        self.net = recipe.net.to(device)
        self.net.to(memory_format=torch.channels_last)
        self.opt = torch.optim.AdamW(recipe.groups(), fused=device.type == "cuda")
        self.peak = [g["lr"] for g in self.opt.param_groups]
        self.ema = AveragedModel(self.net, multi_avg_fn=averaging(budget.ema), use_buffers=True)
        self.step, self.spent = 0, 0.0
        if (out / "checkpoint.pt").is_file():
            self._restore(torch.load(out / "checkpoint.pt", map_location=device, weights_only=True))

    def _restore(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.opt.load_state_dict(state["opt"])
        self.step, self.spent = state["step"], state["spent"]

    def _save(self) -> None:
        state = {
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict(),
            "opt": self.opt.state_dict(),
            "step": self.step,
            "spent": self.spent,
        }
        for name, content in (("checkpoint.pt", state), ("ema.pt", self.weights())):
            part = self.out / f"{name}.part"
            torch.save(content, part)
            part.replace(self.out / name)

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights and running statistics."""
        return dict(self.ema.module.state_dict())

    def progress(self) -> float:
        """Share of the budget spent, 0 to 1."""
        return max(self.spent / (60 * self.budget.minutes), self.step / self.budget.steps)

    def run(self, tiles: Dataset[dict[str, Any]]) -> dict[str, Tensor]:
        """Train until the budget is spent or the tiles run out; returns the averaged weights."""
        self.net.train()
        last_save = before = time.monotonic()
        sums: dict[str, float] = {}
        for samples in self._batches(tiles):
            parts = self._step(samples)
            self.step += 1
            now = time.monotonic()
            self.spent, before = self.spent + now - before, now
            for k, v in parts.items():
                sums[k] = sums.get(k, 0.0) + v / 20
            if self.step % 20 == 0:
                self._log(sums)
                sums = {}
            done = self.progress() >= 1
            if done or now - last_save > self.budget.save_s:
                self._save()
                last_save = time.monotonic()
            if done:
                break
        self._save()
        return self.weights()

    def _batches(self, tiles: Dataset[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        first = self.step * self.budget.batch  # a resumed training goes on where the stream stood
        rest = Subset(_Prepared(tiles, self.recipe), range(first, len(tiles)))  # type: ignore[arg-type]
        loader = DataLoader(
            rest,
            batch_size=self.budget.batch,
            drop_last=True,
            num_workers=self.budget.workers,
            collate_fn=collate,
            prefetch_factor=4 if self.budget.workers else None,
        )
        yield from loader

    def _step(self, samples: list[dict[str, Any]]) -> dict[str, float]:
        factor = rate(self.progress(), self.budget.warmup)
        for group, peak in zip(self.opt.param_groups, self.peak, strict=True):
            group["lr"] = peak * factor
        with autocast(self.device):
            parts = self.recipe.loss(samples)
        total = torch.stack(list(parts.values())).sum()
        self.opt.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.budget.clip)
        if bool(torch.isfinite(norm)):  # one broken batch must not spoil the training
            self.opt.step()
            self.ema.update_parameters(self.net)
        return {k: float(v.detach()) for k, v in parts.items()} | {"norm": float(norm)}

    def _log(self, sums: dict[str, float]) -> None:
        line = {"step": self.step, "minutes": round(self.spent / 60, 2)}
        line |= {k: round(v, 4) for k, v in sums.items()}
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as f:
            f.write(json.dumps(line) + "\n")
