"""The loop that works runs off: rows in, batches out to the workers, ticks back into the rows."""

from __future__ import annotations

import logging
import time
from typing import Any

from cmlcore import store
from cmlcore.errors import CmlError, RunError
from cmlcore.jobs.device import note_speed
from cmlcore.jobs.engine import Engine, Future, sentence
from cmlcore.jobs.manifest import finish_run
from cmlcore.jobs.road import open_run, plan_blocks, raise_flag, work_blocks
from cmlcore.jobs.runs import CANCELLED
from cmlcore.jobs.sitting import HEARTBEAT_S, Sitting, job_of
from cmlcore.store import Run
from cmlcore.store.tables import now

log = logging.getLogger(__name__)
AT_ONCE = 4  # runs that take turns; more wait, so that the first ones get somewhere
OUT_PER_WORKER = 2  # one at work, one waiting: a worker never waits for us
PATIENCE_S = 1.2  # after this a worker that does not heed a cancel is killed


class RunLoop:
    """Owns the engine and every run at work. Used from one thread; call ``turn`` again and again."""

    def __init__(self) -> None:
        """Nothing is started until a run is queued."""
        self._engine: Engine | None = None
        self._sittings: dict[str, Sitting] = {}

    @property
    def busy(self) -> bool:
        """Whether any run is at work."""
        return bool(self._sittings)

    def turn(self) -> None:
        """One look at everything. Whatever fails for lack of disk is tried again at the next turn.

        Raises:
            CmlError: the database or the engine cannot be used at present.

        """
        if self._engine and not self._engine.alive:
            self.put_back()
        self._take_queued()
        self._heed_cancels()
        for sitting in list(self._sittings.values()):
            self._advance(sitting)
        self._feed()

    def put_back(self) -> None:
        """Give every run back to the queue and end the workers; finished blocks are kept."""
        engine, self._engine = self._engine, None
        sittings, self._sittings = self._sittings, {}
        try:
            for sitting in sittings.values():
                requeue(sitting.run.id, worked_s=sitting.worked_s)
        finally:
            if engine:
                engine.close()

    def give_up(self, error: BaseException) -> None:
        """Fail every run at work, after something nobody foresaw; each can be resumed."""
        for sitting in list(self._sittings.values()):
            self._fail(sitting, error)

    # -- rows in ----------------------------------------------------------------------------------------

    def _take_queued(self) -> None:
        for row in reversed(store.list_runs(None, "queued")):  # oldest first
            if len(self._sittings) >= AT_ONCE:
                return
            if row.id not in self._sittings:
                self._take(row)

    def _take(self, row: Run) -> None:
        try:
            engine = self._engine = self._engine or Engine()
        except RunError as e:
            store.update_run(row.id, only=("queued",), message=str(e))
            raise
        row.started_at = row.started_at or now()
        begun = {"status": "running", "stage": "opening", "message": "", "heartbeat_at": now()}
        if not store.update_run(row.id, only=("queued",), started_at=row.started_at, **begun):
            return  # cancelled a moment ago
        sitting = Sitting(row, job_of(row, store.get_slide(row.slide_id)))
        self._sittings[row.id] = sitting
        sitting.step = engine.submit(open_run, sitting.job)

    # -- cancelling -------------------------------------------------------------------------------------

    def _heed_cancels(self) -> None:
        wanted = store.cancel_requests()
        for run_id in wanted & set(self._sittings):
            sitting = self._sittings[run_id]
            if sitting.cancel_seen_s is None:
                sitting.cancel_seen_s = time.monotonic()
                raise_flag(sitting.job.folder)
            futures = [f for f in self._futures(sitting) if not f.done()]
            if futures and time.monotonic() - sitting.cancel_seen_s < PATIENCE_S:
                continue
            self._drop(sitting)
            self._end(sitting, "cancelled", CANCELLED)
        for run_id in wanted - set(self._sittings):  # asked of a server that has died since
            store.update_run(
                run_id, only=("running",), status="cancelled", message=CANCELLED, finished_at=now()
            )

    def _drop(self, sitting: Sitting) -> None:
        """Free the workers of a run: waiting steps are called off, a step that does not end is killed."""
        engine = self._engine
        futures = [f for f in self._futures(sitting) if not f.done()]
        if not futures or engine is None:
            return
        stubborn = engine.workers_at(futures)
        engine.call_off(futures)
        engine.kill(stubborn)

    # -- ticks back -------------------------------------------------------------------------------------

    def _advance(self, sitting: Sitting) -> None:
        if sitting.cancel_seen_s is not None:
            return
        failed = self._collect(sitting) if sitting.stage == "segmenting" else self._step_on(sitting)
        if failed is not None:
            self._fail(sitting, failed)
        elif time.monotonic() - sitting.told_s > HEARTBEAT_S:
            sitting.tell()

    def _step_on(self, sitting: Sitting) -> BaseException | None:
        """Opening → planning → segmenting, summarising → done: each waits for its one step."""
        step, engine = sitting.step, self._engine
        if step is None or engine is None or not step.done():
            return None
        if step.cancelled():  # lost with its worker
            sitting.step = engine.submit(*_step_of(sitting))
            return None
        if (failed := step.exception()) is not None:
            return failed
        result = step.result()
        if sitting.stage == "opening":
            sitting.device, sitting.stage = result, "planning"
            sitting.step = engine.submit(*_step_of(sitting))
        elif sitting.stage == "planning":
            sitting.begin_segmenting(result)
            sitting.stage, sitting.step = "segmenting", None
        else:
            manifest, summed = result
            self._end(sitting, "done", "", manifest=manifest, summary=summed, cells=summed["cells"])
            note_speed(sitting.device, sitting.mm2_per_s, sitting.run.model)
            return None
        sitting.tell()
        return None

    def _collect(self, sitting: Sitting) -> BaseException | None:
        """Take the batches that have come back; when all are in, sum up."""
        came = [f for f in sitting.out if f.done()]
        for future in came:
            blocks = sitting.out.pop(future)
            if future.cancelled():  # lost with the scheduler
                sitting.put_back(blocks)
            elif (failed := future.exception()) is not None:
                return failed
            else:
                sitting.take(blocks, future.result())
        if not sitting.todo and not sitting.out and self._engine:
            sitting.stage = "summarising"
            sitting.step = self._engine.submit(*_step_of(sitting))
        if came or sitting.stage == "summarising":
            sitting.tell()
        return None

    def _end(self, sitting: Sitting, status: str, message: str, **more: Any) -> None:
        if status == "done":
            sitting.stage = "finished"
        ended = {"status": status, "message": message, "finished_at": now(), "eta_s": None}
        sitting.tell(**{**ended, **more})
        del self._sittings[sitting.run.id]

    def _fail(self, sitting: Sitting, error: BaseException) -> None:
        if not isinstance(error, CmlError):
            log.error("Run %s failed.", sitting.run.id, exc_info=error)
        raise_flag(sitting.job.folder)  # nobody waits for what is still at work, so nothing is killed
        if self._engine:
            self._engine.call_off([f for f in self._futures(sitting) if not f.done()])
        self._end(sitting, "failed", sentence(error))

    # -- batches out ------------------------------------------------------------------------------------

    def _feed(self) -> None:
        """Keep every worker busy; the run with the least out goes first, so runs share evenly."""
        engine = self._engine
        if engine is None:
            return
        at_work = [s for s in self._sittings.values() if s.stage == "segmenting" and s.cancel_seen_s is None]
        free = engine.slots * OUT_PER_WORKER - sum(len(s.out) for s in at_work)
        for _ in range(free):
            hungry = [s for s in at_work if s.todo]
            if not hungry:
                return
            sitting = min(hungry, key=lambda s: len(s.out))
            blocks = sitting.next_blocks()
            sitting.out[engine.submit(work_blocks, sitting.job, sitting.lean_plan, blocks)] = blocks

    def _futures(self, sitting: Sitting) -> list[Future]:
        return [*sitting.out, *([sitting.step] if sitting.step else [])]


def requeue(run_id: str, **more: Any) -> None:
    """A run that was at work waits again; it goes on from its finished blocks."""
    waiting = {"status": "queued", "stage": "waiting", "stage_fraction": 0.0, "eta_s": None}
    store.update_run(run_id, only=("running",), **{**waiting, **more})


def _step_of(sitting: Sitting) -> tuple[Any, ...]:
    """The step that the present stage consists of."""
    if sitting.stage == "opening":
        return open_run, sitting.job
    if sitting.stage == "planning":
        return plan_blocks, sitting.job
    return finish_run, sitting.job, sitting.plan, {"run_id": sitting.run.id, **sitting.story()}
