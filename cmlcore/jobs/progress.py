"""How far a run has come, from its row alone: any process may ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cmlcore.store import ACTIVE, Run, RunStatus, Stage, Training, get_run, list_runs
from cmlcore.store.tables import now

# Share of the whole that is behind a run when a stage begins, and when it ends.
SPAN: dict[Stage, tuple[float, float]] = {
    "waiting": (0.0, 0.0),
    "opening": (0.0, 0.03),
    "planning": (0.03, 0.06),
    "segmenting": (0.06, 0.97),
    "summarising": (0.97, 1.0),
    "finished": (1.0, 1.0),
}
LABEL: dict[Stage, str] = {
    "waiting": "Waiting for its turn",
    "opening": "Opening the slide and loading the model",
    "planning": "Finding where the cells are",
    "segmenting": "Outlining and naming cells",
    "summarising": "Summing up",
    "finished": "Finished",
}
STALE_S = 30.0  # a row not touched for so long says nothing about the time left


@dataclass(frozen=True, slots=True)
class Progress:
    """What a progress panel shows.

    Attributes:
        run_id: the run.
        status: queued, running, done, failed or cancelled.
        stage: which of the stages it is in; ``stage_label`` says it to people.
        stage_label: see ``stage``.
        done: blocks finished.
        total: blocks to do, empty ones left out; 0 until planned.
        empty: blocks skipped because nothing lies in them.
        recut: blocks cut again with a larger margin.
        cells: cells found so far.
        fraction: 0..1 over all stages; never falls within a sitting.
        eta_s: seconds left over all stages; None while nothing has been measured.
        mm2_per_s: measured speed; None while nothing has been measured.
        device: the device at work; empty until known.
        message: one sentence for a failed or cancelled run, else a remark or empty.
        ahead: runs waiting or at work before this one while it is queued.

    """

    run_id: str
    status: RunStatus
    stage: Stage
    stage_label: str
    done: int
    total: int
    empty: int
    recut: int
    cells: int
    fraction: float
    eta_s: float | None
    mm2_per_s: float | None
    device: str
    message: str
    ahead: int = 0

    @property
    def active(self) -> bool:
        """Whether it is worth asking again."""
        return self.status in ("queued", "running")


def progress_of(row: Run, ahead: int = 0) -> Progress:
    """The progress that a row tells."""
    low, high = SPAN[row.stage]
    age_s = (now() - row.heartbeat_at).total_seconds() if row.heartbeat_at else STALE_S
    fresh = row.status == "running" and age_s < STALE_S and row.eta_s is not None
    return Progress(
        run_id=row.id,
        status=row.status,
        stage=row.stage,
        stage_label=LABEL[row.stage],
        done=row.blocks_done,
        total=row.blocks_total,
        empty=row.blocks_empty,
        recut=row.blocks_recut,
        cells=row.cells,
        fraction=low + (high - low) * row.stage_fraction,
        eta_s=max(1.0, (row.eta_s or 0.0) - age_s) if fresh else None,
        mm2_per_s=row.mm2_per_s,
        device=row.device,
        message=row.message,
        ahead=ahead,
    )


def progress(run_id: str) -> Progress:
    """How far a run has come.

    Raises:
        InputError: there is no such run.

    """
    row = get_run(run_id)
    return progress_of(row, ahead_of(row, list_runs(None, *ACTIVE)) if row.status == "queued" else 0)


def ahead_of(row: Run | Training, active: Sequence[Run | Training]) -> int:
    """How many of those waiting or at work come before one that waits."""
    return sum(r.status == "running" or r.created_at < row.created_at for r in active if r.id != row.id)
