"""One training from its settings to an installed model; it goes on where its folder says it stopped."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, Timer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException

from cmlcore import job_folder
from cmlcore.errors import CmlError, InputError, ModelError, RunCancelledError, StorageError
from cmlcore.files import read_json, write_json
from cmlcore.settings import settings as cml_settings
from cmlcore.training import run_dir
from cmlcore.training.backbones import build_recipe
from cmlcore.training.balance import class_counts, rarity
from cmlcore.training.callbacks import (
    Averaged,
    Keeper,
    Reporter,
    averaged_weights,
    best_checkpoint,
    early_stop,
)
from cmlcore.training.card_text import card_markdown
from cmlcore.training.data import Gathered, described, gather
from cmlcore.training.data_module import CellData
from cmlcore.training.environment import environment, precision_of
from cmlcore.training.module import CellModule
from cmlcore.training.package import card_of, export, free_key, install
from cmlcore.training.recipe import Recipe
from cmlcore.training.scenes import Scene, load_scenes
from cmlcore.training.schedule import Budget, budget_of
from cmlcore.training.settings import TrainSettings
from cmlcore.training.tiles import CellTiles, TileSettings
from cmlcore.training.validation import Figures, ValTiles
from models.device import choose_device, describe, set_threads

ENDLESS = 1 << 40  # tiles; a training never comes to the end of its stream
CANCELLED = "Cancelled; the last step is kept and the training can be resumed."


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a training ended.

    Attributes:
        state: "done" or "cancelled"; a failure is an error.
        message: one sentence.
        steps: taken in all sittings.
        seconds: wall time of all sittings.
        key: of the installed model; empty where there is none yet.
        figures: of the weights kept, on val; None where nothing was validated.

    """

    state: Literal["done", "cancelled"]
    message: str
    steps: int
    seconds: float
    key: str = ""
    figures: Figures | None = None


def fit(settings: TrainSettings, folder: Path, *, cancelled: Callable[[], bool] = lambda: False) -> FitResult:
    """Train, validate, and install the model; goes on from ``checkpoints/last.ckpt`` where there is one.

    Args:
        settings: what to train.
        folder: the training's, see ``run_dir``; a stop file in it ends the training, too.
        cancelled: asked after every step.

    Raises:
        CmlError: it cannot be done; the sentence is in status.json as well, and the last checkpoint is kept.

    """
    (folder / run_dir.CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    wanted = (lambda: cancelled() or job_folder.stop_requested(folder)) if _first_rank() else lambda: False
    try:
        with _sentences():
            result = _Training(settings, folder, wanted).run()
    except RunCancelledError:
        status = job_folder.read_status(folder)
        _tell(folder, state="cancelled", message=CANCELLED, left_s=None)
        return FitResult(
            "cancelled", CANCELLED, int(status.get("step", 0)), float(status.get("seconds", 0.0))
        )
    except CmlError as e:
        _tell(folder, state="failed", message=str(e), left_s=None)
        raise
    _tell(folder, state="done", message=result.message, left_s=0.0, model=result.key)
    return result


class _Training:
    """The steps of one sitting."""

    def __init__(self, settings: TrainSettings, folder: Path, cancelled: Callable[[], bool]) -> None:
        self.settings, self.folder, self.cancelled = settings, folder, cancelled
        self.store_mpp = settings.mpp / 2  # scale jitter must not have to invent detail

    def run(self) -> FitResult:
        settings = self.settings
        if settings.epochs is None and settings.steps is None and settings.minutes is None:
            raise InputError("Say how long to train: give epochs, steps or minutes.")
        cv2.setNumThreads(0)
        device = choose_device(settings.device)
        set_threads(settings.threads)
        if _first_rank():
            run_dir.write_settings(self.folder, settings)
            write_json(self.folder / run_dir.ENVIRONMENT, environment(settings))
        self.tell(state="running", message="Reading the labels.", device=describe(device))
        gathered = gather(settings)
        facts = described(gathered, settings, tick=self.breathe)
        self._same_data(facts)
        train, val = self._scenes(gathered)
        tiles = CellTiles(train, ENDLESS, settings.seed, tile_settings(settings, self.store_mpp))
        budget = budget_of(settings, train, self.store_mpp, tiles.settings.mean_area)
        sides = _sides(train, self.store_mpp / settings.mpp)
        recipe = build_recipe(settings, sides, rarity(class_counts(train), settings.loss_balance).tolist())
        trainer = self._fitted(recipe, budget, tiles, val, device)
        if not trainer.is_global_zero:
            return FitResult("done", "", trainer.global_step, 0.0)
        return self._packaged(recipe, trainer, budget, facts, sides)

    def _scenes(self, gathered: Gathered) -> tuple[list[Scene], list[Scene]]:
        classes, cache = self.settings.classes, cml_settings().home / "cache" / "scenes"
        total = len(gathered.train) + len(gathered.val)
        out: list[list[Scene]] = []
        for records in (gathered.train, gathered.val):
            before = sum(map(len, out))

            def progress(n: int, before: int = before) -> None:
                self.breathe()
                if n % 20 == 0:
                    self.tell(message=f"Preparing image {before + n} of {total}.")

            out.append(load_scenes(records, classes, cache, self.store_mpp, progress))
        return out[0], out[1]

    def _fitted(
        self, recipe: Recipe, budget: Budget, tiles: CellTiles, val: list[Scene], device: torch.device
    ) -> pl.Trainer:
        s = self.settings
        clock = Timer(duration=timedelta(seconds=budget.seconds) if budget.seconds else None)
        module = CellModule(recipe, s.classes, budget, s.warmup, s.seed, clock.time_elapsed)
        judged = ValTiles(val, self.store_mpp / s.mpp, recipe.align, s.validate_images)
        keeper = Keeper(self.folder, budget, clock, self.cancelled, s.save_s)
        callbacks: list[Callback] = [clock, Averaged(s.ema)]
        callbacks.append(Reporter(self.folder, budget, clock, describe(device)))
        if len(judged):
            callbacks += [best_checkpoint(self.folder), *([early_stop(s.early_stop)] if s.early_stop else [])]
        callbacks.append(keeper)
        trainer = self._trainer(device, callbacks)
        data = CellData(
            tiles, judged if len(judged) else None, recipe.prepare, s.batch, budget.every, s.workers
        )
        last = self.folder / run_dir.LAST
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice for other kinds of training
            trainer.fit(
                module, datamodule=data, ckpt_path=str(last) if last.is_file() else None, weights_only=True
            )
        return trainer

    def _trainer(self, device: torch.device, callbacks: list[Callback]) -> pl.Trainer:
        s = self.settings
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)
        chosen: Any = s.devices
        if device.type == "cuda" and s.devices == 1:
            chosen = [device.index or 0]
        return pl.Trainer(
            accelerator={"cuda": "gpu"}.get(device.type, device.type),
            devices=chosen,
            # the mask head has no gradient in a batch without outlines
            strategy=DDPStrategy(find_unused_parameters=s.model == "type1") if s.devices > 1 else "auto",
            precision=precision_of(s),
            max_epochs=-1,
            gradient_clip_val=s.clip,
            callbacks=callbacks,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=str(self.folder),
        )

    def _packaged(
        self,
        recipe: Recipe,
        trainer: pl.Trainer,
        budget: Budget,
        facts: dict[str, Any],
        sides: np.ndarray[Any, Any],
    ) -> FitResult:
        self.tell(message="Packing the model.")
        best = self.folder / run_dir.BEST
        kept = best if best.is_file() else self.folder / run_dir.LAST
        figures, at = figures_at(self.folder, torch.load(kept, map_location="cpu", weights_only=True))
        status = job_folder.read_status(self.folder)
        seconds = float(status.get("seconds", 0.0))
        key = str(status.get("model") or "") or free_key(self.settings, self.folder)
        training = {
            "steps": trainer.global_step,
            "kept_step": at,
            "epochs": round(trainer.global_step / budget.epoch, 2),
            "seconds": round(seconds, 1),
            "batch": self.settings.batch * self.settings.devices,
            "lr": self.settings.lr,
            "device": status.get("device", ""),
        }
        largest = float(np.percentile(sides, 95)) if len(sides) else 0.0
        card = card_of(self.settings, recipe, key, figures, facts, training, largest)
        text = card_markdown(card, self.settings)
        card_path = export(averaged_weights(kept), card, self.folder / run_dir.MODEL, text=text)
        install(card_path)
        message = f"Done: {trainer.global_step} steps; the model is “{key}”."
        if figures is not None:
            reached = f"mAP50 {figures.map50:.3f} on val at step {at:,} of {trainer.global_step:,}"
            message = f"Done: best {reached}; the model is “{key}”."
        return FitResult("done", message, trainer.global_step, seconds, key, figures)

    def _same_data(self, facts: dict[str, Any]) -> None:
        """A training that goes on must see the images it began with."""
        if not _first_rank():
            return
        path = self.folder / run_dir.DATA
        before = read_json(path).get("sha256")
        if run_dir.can_resume(self.folder) and before not in (None, facts["sha256"]):
            raise InputError("The images or labels have changed since the training began; start a new one.")
        write_json(path, facts)

    def breathe(self) -> None:
        """Leave where somebody wants the end. Raises RunCancelledError."""
        if self.cancelled():
            raise RunCancelledError(CANCELLED)

    def tell(self, **values: Any) -> None:
        """Say how things stand."""
        _tell(self.folder, **values)


def tile_settings(settings: TrainSettings, store_mpp: float) -> TileSettings:
    """How the tiles of a training are drawn."""
    common: dict[str, Any] = {
        "mpp": settings.mpp,
        "store_mpp": store_mpp,
        "balance": settings.balance,
        "augmentation": settings.augmentation,
        "same_size": settings.batch,
    }
    if settings.tile is None:
        return TileSettings(**common)
    return TileSettings(sizes=((settings.tile, settings.tile),), size_weights=(1.0,), **common)


def figures_at(folder: Path, checkpoint: dict[str, Any]) -> tuple[Figures | None, int]:
    """The last validation at or before a checkpoint, from curves.jsonl, and the checkpoint's step."""
    at = int(checkpoint["global_step"])
    seen = [e for e in run_dir.read_curves(folder) if e["split"] == "val" and e["step"] <= at]
    if not seen:
        return None, at
    names = ("map50", "map", "ap50", "ap", "score", "threshold", "images")
    return Figures(**{k: seen[-1][k] for k in names if k in seen[-1]}), at


def _sides(scenes: list[Scene], shrink: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Geometric mean side of every cell's box in model pixels."""
    boxes = np.concatenate([s.boxes for s in scenes])
    return np.asarray(np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1)) * shrink, np.float32)


def _first_rank() -> bool:
    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0


def _tell(folder: Path, **values: Any) -> None:
    if _first_rank():
        job_folder.write_status(folder, **values)


@contextmanager
def _sentences() -> Iterator[None]:
    """Turns what the libraries raise into one plain sentence each."""
    try:
        yield
    except CmlError:
        raise
    except SIGTERMException as e:
        raise RunCancelledError(CANCELLED) from e
    except (MemoryError, RuntimeError) as e:
        if not out_of_memory(e):
            raise
        raise ModelError(
            "There is not enough memory for this training; the last checkpoint is kept. "
            "Give a smaller batch or tile, or fewer workers, and resume."
        ) from e
    except OSError as e:
        raise StorageError(
            f"A file of the training cannot be read or written ({e.strerror or type(e).__name__}); "
            "make room or check the folder, then resume."
        ) from e


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, numpy or a loader process means that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    signs = (
        "not enough memory",
        "can't allocate memory",
        "out of memory",
        "signal: Killed",
        "exited unexpectedly",
    )
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)
