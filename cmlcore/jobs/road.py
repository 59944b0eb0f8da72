"""The steps of a run, each a plain function of a :class:`Job`: workers call them, and the shell does too.

open_run → plan_blocks → work_blocks (many times, in any order, by many) → finish_run.
Whatever a step leaves on disk appears whole or not at all, so any step may be repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from cmlcore.cells import finished_blocks, part_path, write_part
from cmlcore.errors import RunCancelledError
from cmlcore.files import whole_file
from cmlcore.geometry import Mpp
from cmlcore.jobs.holding import held_model, held_reader, plainly
from cmlcore.segmentation import Plan, SegmentSettings, plan_run, segment_blocks
from cmlcore.store import Polygon
from models.registry import card

PLAN = "plan.json"
RECUT = "recut"  # a folder of empty files, one for each block that was cut again
CUT = "cut"  # a folder of files, one for each block with cells that even the largest margin cuts: how many
CANCEL_FLAG = "cancel"  # a file in the run's folder: seen by workers on other machines too


@dataclass(frozen=True, slots=True)
class Job:
    """All that a worker must know; travels to other processes and machines with one data folder."""

    run_dir: str
    slide_path: str
    slide_sha256: str
    scene: int
    rois: list[Polygon] | None
    mpp: tuple[float, float]
    mpp_is_estimate: bool
    model: str
    model_sha256: str
    settings: dict[str, Any]
    device: str
    threads: int

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.run_dir)


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning found, and what an earlier sitting left.

    ``todo`` are the blocks still to be worked; the counts tell of the blocks that are done.
    """

    plan: Plan
    todo: tuple[int, ...]
    done: int
    recut: int
    cells: int


@dataclass(frozen=True, slots=True)
class Tick:
    """One batch of blocks done; ``stage_s`` is seconds by stage of the engine, summed over the blocks."""

    blocks: tuple[int, ...]
    cells: int
    recut: int
    seconds: float
    stage_s: dict[str, float]


def open_run(job: Job) -> str:
    """Load the model and open the slide in this process; both stay for the blocks to come.

    Returns:
        The device, in words.

    Raises:
        ModelError: the model is missing, or not the one the run was queued with.
        SlideError: the slide cannot be opened.

    """
    with plainly():
        held_reader(job.slide_path)
        return held_model(job.model, job.model_sha256, job.device, job.threads).device


def plan_blocks(job: Job) -> Planned:
    """Cut the scene into blocks, or take up the plan of an earlier sitting.

    Raises:
        CmlError: of the kind that fits.

    """
    with plainly():
        job.folder.mkdir(parents=True, exist_ok=True)
        sweep(job.folder)
        plan = _plan(job)
        finished = set(finished_blocks(job.folder)) & set(plan.blocks)
        cells = sum(pq.read_metadata(part_path(job.folder, b)).num_rows for b in finished)
        todo = tuple(b for b in plan.blocks if b not in finished)
        return Planned(plan, todo, len(finished), recut_count(job.folder), cells)


def sweep(folder: Path) -> None:
    """Remove what processes left half written that were killed; nobody may be writing."""
    for stray in folder.rglob("*.part"):
        stray.unlink(missing_ok=True)


def work_blocks(
    job: Job, plan: Plan, blocks: Sequence[int], cancelled: Callable[[], bool] | None = None
) -> Tick:
    """Segment some blocks and write their parts; when cancelled, what was not reached is left for later.

    Raises:
        CmlError: of the kind that fits.

    """
    begun = time.monotonic()
    done: list[int] = []
    stage_s: dict[str, float] = {}
    cells = recut = 0
    with plainly():
        reader = held_reader(job.slide_path)
        model = held_model(job.model, job.model_sha256, job.device, job.threads)
        stop = cancelled or (job.folder / CANCEL_FLAG).exists
        try:
            for result in segment_blocks(reader, plan, blocks, model, SegmentSettings(**job.settings), stop):
                if result.recuts:
                    _mark_recut(job.folder, result.index)
                    recut += 1
                if result.cut_cells:
                    _mark_cut(job.folder, result.index, result.cut_cells)
                write_part(job.folder, result.index, result.table)
                done.append(result.index)
                cells += result.table.num_rows
                for stage, seconds in result.times.items():
                    stage_s[stage] = stage_s.get(stage, 0.0) + seconds
        except RunCancelledError:  # an answer like any other: the parts written so far count
            pass
    return Tick(tuple(done), cells, recut, time.monotonic() - begun, stage_s)


def raise_flag(folder: Path) -> None:
    """Have the workers stop at their next tile; where no file can be made, they are killed in time."""
    with suppress(OSError):
        (folder / CANCEL_FLAG).touch()


def recut_count(folder: Path) -> int:
    """Blocks that were cut again, all sittings."""
    return sum(1 for _ in (folder / RECUT).glob("*"))


def cut_cells(folder: Path) -> int:
    """Cells that are larger than the largest margin allowed, and so are cut off by a tile's edge."""
    return sum(int(p.read_text(encoding="ascii")) for p in (folder / CUT).glob("*[0-9]"))


def _mark_cut(folder: Path, block: int, cells: int) -> None:
    with whole_file(folder / CUT / str(block)) as part:
        part.write_text(str(cells), encoding="ascii")


def _mark_recut(folder: Path, block: int) -> None:
    (folder / RECUT).mkdir(exist_ok=True)
    (folder / RECUT / str(block)).touch()


def _plan(job: Job) -> Plan:
    """The plan on disk, or a new one put there: all sittings of a run work on the same cut."""
    path = job.folder / PLAN
    if path.exists():
        return Plan.from_json(path.read_text(encoding="utf-8"))
    made = card(job.model)
    plan = plan_run(
        held_reader(job.slide_path),
        job.scene,
        job.rois,
        Mpp(*job.mpp),
        made.mpp,
        made.grid,
        SegmentSettings(**job.settings),
    )
    with whole_file(path) as part:
        part.write_text(plan.to_json(), encoding="utf-8")
    return plan
