"""What happens beside the steps: the run folder is kept up to date, the end is noticed, checkpoints are kept.

A line of curves.jsonl is ``{"step", "epoch", "seconds", "split": "train" | "val", "loss", <its parts>}``;
of train also ``lr``, as the mean over the steps since the line before; of val also ``map50``, ``map``,
``ap50`` and ``ap`` (by class), ``score`` (by class, where F1 is best), ``threshold`` (for all), ``images``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    ModelCheckpoint,
    Timer,
    WeightAveraging,
)

from cmlcore import job_folder
from cmlcore.errors import RunCancelledError
from cmlcore.training import run_dir
from cmlcore.training.module import CellModule
from cmlcore.training.schedule import Budget, averaging

LOG_EVERY = 20  # steps
STATUS_EVERY_S = 2.0


class Averaged(WeightAveraging):
    """Exponential moving average of all weights; it is what is validated, kept as best, and packaged."""

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=averaging(decay))


class Keeper(Checkpoint):
    """Ends the training when its budget is spent or somebody wants it to end; keeps last.ckpt meanwhile.

    last.ckpt is written after each validation too, when best.ckpt and early stopping have seen its figures,
    so that they are known to whoever goes on. A training that was ended just before a validation begins
    with it when it goes on. (Lightning runs checkpoint callbacks last, in the order given.)
    """

    def __init__(
        self, folder: Path, budget: Budget, clock: Timer, cancelled: Callable[[], bool], save_s: float
    ) -> None:
        self._folder, self._budget, self._clock = folder, budget, clock
        self._cancelled, self._save_s = cancelled, save_s
        self._saved = time.monotonic()
        self._validated = 0  # the step of the last validation

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Drop what lies beyond the checkpoint; hold the validation that was due when it was left."""
        step = trainer.global_step
        if trainer.is_global_zero:
            run_dir.forget_curve_after(self._folder, step, self._validated == step)
        if not step or step % self._budget.every or self._validated == step or not _validates(trainer):
            return
        trainer.validating = True
        trainer.fit_loop.epoch_loop.val_loop.run()
        trainer.training = True

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Look whether to save, and whether to end.

        Raises:
            RunCancelledError: somebody wants it to end; the last step is in last.ckpt.

        """
        cancelled = _agreed(trainer, self._cancelled())
        over = self._budget.progress(trainer.global_step, self._clock.time_elapsed()) >= 1
        over = _agreed(trainer, over)
        due = _agreed(trainer, time.monotonic() - self._saved >= self._save_s)
        # a validation may be broken off, and what stands then are the averaged weights: keep the step first
        due |= _validates(trainer) and trainer.global_step % self._budget.every == 0
        if cancelled or due or (over and not _validates(trainer)):
            self._save(trainer, module)
        if cancelled:
            raise RunCancelledError("The training was cancelled; it can be resumed.")
        if over:
            trainer.should_stop = True

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """A validation need not be waited for.

        Raises:
            RunCancelledError: somebody wants the training to end.

        """
        if _agreed(trainer, self._cancelled()):
            raise RunCancelledError("The training was cancelled; it can be resumed.")

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Keep what is known now."""
        self._validated = trainer.global_step
        self._save(trainer, module)

    def state_dict(self) -> dict[str, Any]:
        """For Lightning's checkpoint."""
        return {"validated": self._validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From Lightning's checkpoint."""
        self._validated = state_dict["validated"]

    def _save(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write last.ckpt, unless the last steps were broken ones."""
        if isinstance(module, CellModule) and module.broken:
            return
        trainer.save_checkpoint(self._folder / run_dir.LAST)
        self._saved = time.monotonic()


def _validates(trainer: pl.Trainer) -> bool:
    return sum(trainer.num_val_batches) > 0


def _agreed(trainer: pl.Trainer, mine: bool) -> bool:
    """What the first rank says: all ranks must turn the same way."""
    return bool(trainer.strategy.broadcast(mine)) if trainer.world_size > 1 else mine


class Reporter(Callback):
    """Writes curves.jsonl and status.json."""

    def __init__(self, folder: Path, budget: Budget, clock: Timer, device: str) -> None:
        self._folder, self._budget, self._clock, self._device = folder, budget, clock, device
        self._sums: dict[str, float] = {}
        self._counted = 0
        self._written = 0.0
        self._began = (0, 0.0)  # step and time of this sitting's start
        self._map50: float | None = None

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """The pace is that of this sitting."""
        self._began = (trainer.global_step, time.monotonic())
        self._status(trainer, "Training.", now=True)

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        """Add to the sums; write a line now and then."""
        self._counted += 1
        for k, v in module.parts.items():
            self._sums[k] = self._sums.get(k, 0.0) + float(v)
        if trainer.global_step % LOG_EVERY == 0:
            self._line(trainer)
        self._status(trainer, "Training.")

    def on_validation_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Say so: it may take a while."""
        self._line(trainer)
        self._status(trainer, "Validating.", now=True)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """A sign of life."""
        self._status(trainer, "Validating.")

    def on_validation_end(self, trainer: pl.Trainer, module: Any) -> None:
        """Write the figures."""
        figures = module.figures.last
        loss = {
            k.removeprefix("val/"): round(float(v), 5)
            for k, v in trainer.callback_metrics.items()
            if k.startswith("val/")
        }
        by_class = {
            name: {k: round(v, 5) for k, v in getattr(figures, name).items()}
            for name in ("ap50", "ap", "score")
        }
        self._map50 = round(figures.map50, 5)
        self._append(
            trainer,
            {
                "split": "val",
                **loss,
                "map50": self._map50,
                "map": round(figures.map, 5),
                **by_class,
                "threshold": figures.threshold,
                "images": figures.images,
            },
        )
        self._status(trainer, "Training.", now=True)

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """The steps since the last line."""
        self._line(trainer)

    def _line(self, trainer: pl.Trainer) -> None:
        if not self._counted:
            return
        parts = {k: round(v / self._counted, 5) for k, v in self._sums.items()}
        loss = round(sum(self._sums.values()) / self._counted, 5)
        lr = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        self._append(trainer, {"split": "train", "loss": loss, **parts, "lr": lr})
        self._sums, self._counted = {}, 0

    def _append(self, trainer: pl.Trainer, values: dict[str, Any]) -> None:
        if not trainer.is_global_zero:
            return
        event = {
            "step": trainer.global_step,
            "epoch": round(trainer.global_step / self._budget.epoch, 3),
            "seconds": round(self._clock.time_elapsed(), 1),
        }
        # JSON has no NaN
        run_dir.append_curve(self._folder, event | {k: None if v != v else v for k, v in values.items()})

    def _status(self, trainer: pl.Trainer, message: str, now: bool = False) -> None:
        if not trainer.is_global_zero or not (now or time.monotonic() - self._written > STATUS_EVERY_S):
            return
        self._written = time.monotonic()
        step, seconds = trainer.global_step, self._clock.time_elapsed()
        taken = step - self._began[0]
        # validation belongs to the pace: it recurs
        pace = (time.monotonic() - self._began[1]) / taken if taken else 0.0
        left = self._budget.left(step, seconds, pace)
        job_folder.write_status(
            self._folder,
            state="running",
            message=message,
            step=step,
            steps=self._budget.steps,
            epoch=round(step / self._budget.epoch, 3),
            epochs=round(self._budget.steps / self._budget.epoch, 3) if self._budget.steps else None,
            seconds=round(seconds, 1),
            left_s=None if left is None else round(left, 1),
            map50=self._map50,
            device=self._device,
            pid=os.getpid(),
        )


def best_checkpoint(folder: Path) -> ModelCheckpoint:
    """Lightning's keeper of best.ckpt: the averaged weights with the highest mAP50 on val, then mAP."""
    return ModelCheckpoint(
        dirpath=folder / run_dir.CHECKPOINTS,
        filename="best",
        monitor="rank",
        mode="max",
        save_top_k=1,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )


def early_stop(patience: int) -> EarlyStopping:
    """Lightning's end after ``patience`` validations without a better mAP50."""
    return EarlyStopping("map50", mode="max", patience=patience, min_delta=0.0, strict=False)


def averaged_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The averaged weights of the network in a checkpoint of ``CellModule``, on the CPU."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    return {k.removeprefix("net."): v for k, v in state.items() if k.startswith("net.")}
