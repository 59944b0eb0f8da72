"""The LightningModule: one recipe, taught step by step and judged on val tiles."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from cmlcore.errors import ModelError
from cmlcore.training.recipe import Recipe, Sample
from cmlcore.training.schedule import Budget, rate
from cmlcore.training.validation import BoxFigures

BROKEN_LIMIT = 10  # steps in a row without a finite gradient, after which the training is given up
DIVERGED = (
    "The loss is not a number any more, so the training was ended; the last good checkpoint is kept. "
    "Lower the learning rate and resume, or start anew."
)


class CellModule(pl.LightningModule):
    """Fits a recipe's network.

    What is random in a step is a function of the seed, the step and the rank, so a training that was taken
    up again takes the same steps as one that ran through.
    """

    def __init__(
        self,
        recipe: Recipe,
        classes: tuple[str, ...],
        budget: Budget,
        warmup: float,
        seed: int,
        seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``seconds`` says the wall time spent so far, all sittings together."""
        super().__init__()
        self.recipe = recipe
        self.net = recipe.net
        self.net.to(memory_format=torch.channels_last)
        self.budget, self.warmup, self.seed = budget, warmup, seed
        self.figures = BoxFigures(classes)
        self.broken = 0  # steps without a finite gradient, in a row
        self.parts: dict[str, Tensor] = {}  # of the last step's loss
        self._seconds = seconds

    def configure_optimizers(self) -> Any:
        """AdamW; the rate follows the share of the budget that is spent, by steps or by time."""
        optimizer = torch.optim.AdamW(self.recipe.groups(), fused=self.device.type == "cuda")
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate(self.budget.progress(step, self._seconds()), self.warmup)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "frequency": 1},
        }

    def transfer_batch_to_device(self, batch: Any, *_: Any) -> Any:
        """The recipe moves what it needs when it needs it."""
        return batch

    def on_train_batch_start(self, *_: Any) -> None:
        """Make the step's chances its own."""
        self._draw_from(self.global_step)

    def training_step(self, batch: list[Sample]) -> Tensor:
        """The loss of one batch."""
        self.parts = self.recipe.loss(batch)
        total = torch.stack(list(self.parts.values())).sum()
        self.parts = {k: v.detach() for k, v in self.parts.items()}
        return total

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let a broken batch go by without a step; give up when there are many in a row.

        Raises:
            ModelError: the loss or its gradient has not been finite for ``BROKEN_LIMIT`` steps.

        """
        grads = [p.grad for p in self.net.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads) if grads else torch.zeros(())
        if bool(torch.isfinite(norm)):  # all ranks see the same gradient, so all decide alike
            self.broken = 0
            return
        optimizer.zero_grad(set_to_none=True)  # AdamW leaves weights without a gradient alone
        self.broken += 1
        if self.broken >= BROKEN_LIMIT:
            raise ModelError(DIVERGED)

    def on_validation_batch_start(self, _batch: Any, batch_idx: int, *_: Any) -> None:
        """The same chances in every validation, so that losses can be compared."""
        self._draw_from(batch_idx)

    def validation_step(self, batch: list[Sample]) -> None:
        """Loss and found cells of one val tile."""
        prepared = [self.recipe.prepare(s) for s in batch]
        parts = self.recipe.loss(prepared)
        total = torch.stack(list(parts.values())).sum()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's advice on what to log where
            self.log_dict(
                {f"val/{k}": v for k, v in {"loss": total, **parts}.items()},
                on_epoch=True,
                sync_dist=True,
                batch_size=len(batch),
            )
        self.net.eval()
        for found, sample in zip(self.recipe.find(prepared), batch, strict=True):
            self.figures.see(found, sample)

    def on_validation_epoch_end(self) -> None:
        """The figures over all val tiles."""
        figures = self.figures.compute()
        self.log("map50", figures.map50)
        self.log("rank", figures.map50 + 1e-3 * figures.map)  # of two as good at 0.5, the tighter one

    def _draw_from(self, number: int) -> None:
        torch.manual_seed((self.seed * 1_000_003 + number) * 64 + self.global_rank)
