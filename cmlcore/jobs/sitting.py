"""One run at work: what is out with the workers, what is left, and what the row is told."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from cmlcore import store
from cmlcore.jobs.device import worker_threads
from cmlcore.jobs.engine import Future
from cmlcore.jobs.rate import Rate, batch_size
from cmlcore.jobs.road import Job, Planned, Tick
from cmlcore.segmentation import Plan
from cmlcore.settings import settings
from cmlcore.store import Run, Stage
from cmlcore.store.tables import now

HEARTBEAT_S = 5.0


def job_of(run: Run, slide: store.Slide) -> Job:
    """What a worker must know of a run."""
    return Job(
        run_dir=str(store.run_dir(run.id).resolve()),
        slide_path=slide.path,
        slide_sha256=slide.sha256,
        scene=run.scene,
        rois=run.rois,
        mpp=(run.mpp_x, run.mpp_y),
        mpp_is_estimate=run.mpp_is_estimate,
        model=run.model,
        model_sha256=run.model_sha256,
        settings=run.settings,
        device=settings().device,
        threads=worker_threads(),
    )


@dataclass(slots=True)
class Sitting:
    """A run from the moment this service takes it until it is done, failed, cancelled or put back."""

    run: Run
    job: Job
    stage: Stage = "opening"
    step: Future | None = None  # of the stages that are one step
    out: dict[Future, tuple[int, ...]] = field(default_factory=dict)
    todo: deque[int] = field(default_factory=deque)
    plan: Plan | None = None
    done: int = 0
    recut: int = 0
    cells: int = 0
    device: str = ""
    stage_s: dict[str, float] = field(default_factory=dict)
    rate: Rate = field(default_factory=lambda: Rate(time.monotonic()))
    block_s: float | None = None  # of a worker, for the size of batches
    begun_s: float = field(default_factory=time.monotonic)
    told_s: float = 0.0
    cancel_seen_s: float | None = None

    @property
    def total(self) -> int:
        """Blocks to work, all sittings."""
        return len(self.plan.blocks) if self.plan else 0

    @property
    def lean_plan(self) -> Plan:
        """The plan without its list of blocks, to travel with every batch."""
        assert self.plan is not None  # noqa: S101
        return replace(self.plan, blocks=())

    @property
    def worked_s(self) -> float:
        """Wall time, all sittings."""
        return self.run.worked_s + time.monotonic() - self.begun_s

    @property
    def mm2_per_s(self) -> float | None:
        """Area of the blocks worked a second, since the first went out."""
        speed = self.rate.mean_blocks_per_s
        if speed is None or self.plan is None:
            return None
        side_um = self.plan.grid.core * self.plan.model_mpp
        return speed * side_um * side_um / 1e6

    def begin_segmenting(self, found: Planned) -> None:
        """Take over what planning found."""
        self.plan, self.todo = found.plan, deque(found.todo)
        self.done, self.recut, self.cells = found.done, found.recut, found.cells
        self.rate = Rate(time.monotonic())

    def next_blocks(self) -> tuple[int, ...]:
        """Take blocks off the front for one worker."""
        n = min(batch_size(self.block_s), len(self.todo))
        return tuple(self.todo.popleft() for _ in range(n))

    def put_back(self, blocks: Iterable[int]) -> None:
        """Blocks that did not get done go to the front again, in order."""
        self.todo.extendleft(sorted(blocks, reverse=True))

    def take(self, blocks: tuple[int, ...], tick: Tick) -> None:
        """Count what a batch of blocks brought."""
        self.put_back(set(blocks) - set(tick.blocks))
        self.done += len(tick.blocks)
        self.cells += tick.cells
        self.recut += tick.recut
        for stage, seconds in tick.stage_s.items():
            self.stage_s[stage] = self.stage_s.get(stage, 0.0) + seconds
        if tick.blocks:
            self.block_s = tick.seconds / len(tick.blocks)
            self.rate.tick(time.monotonic(), len(tick.blocks))

    def state(self) -> dict[str, Any]:
        """The present state, as columns of the row."""
        left = len(self.todo) + sum(map(len, self.out.values()))
        segmenting = self.stage == "segmenting" and self.total
        return {
            "stage": self.stage,
            "stage_fraction": self.done / self.total if segmenting else 0.0,
            "blocks_total": self.total,
            "blocks_done": self.done,
            "blocks_empty": self.plan.skipped_empty + self.plan.skipped_uncovered if self.plan else 0,
            "blocks_recut": self.recut,
            "cells": self.cells,
            "device": self.device,
            "mm2_per_s": self.mm2_per_s,
            "eta_s": self.rate.left_s(time.monotonic(), left, self.cells) if self.plan else None,
            "worked_s": self.worked_s,
            "heartbeat_at": now(),
        }

    def tell(self, **more: Any) -> bool:
        """Write the present state to the row. False if the run is not at work any more."""
        self.told_s = time.monotonic()
        return store.update_run(self.run.id, only=("running",), **{**self.state(), **more})

    def story(self) -> dict[str, Any]:
        """What the manifest says beyond what was asked: how, when and how fast."""
        return {
            "device": self.device,
            "started": (self.run.started_at or now()).isoformat(timespec="seconds"),
            "finished": now().isoformat(timespec="seconds"),
            "worked_s": round(self.worked_s, 3),
            "stage_s": {k: round(v, 3) for k, v in sorted(self.stage_s.items())},
            "mm2_per_s": self.mm2_per_s,
        }
