"""The service: threads that feed runs to the workers, check and convert slides, train and evaluate."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from cmlcore import store
from cmlcore.errors import CmlError
from cmlcore.jobs.bench import BENCH_CHILDREN
from cmlcore.jobs.classify import NAMING_CHILDREN
from cmlcore.jobs.device import device_report
from cmlcore.jobs.evaluate import EVALUATION_CHILDREN
from cmlcore.jobs.explainer import EXPLAINER
from cmlcore.jobs.loop import RunLoop, requeue
from cmlcore.jobs.preparation import pending, try_slide
from cmlcore.jobs.processes import locked
from cmlcore.jobs.train_loop import TrainLoop
from cmlcore.settings import settings

log = logging.getLogger(__name__)
_CHILDREN = (EVALUATION_CHILDREN, NAMING_CHILDREN, BENCH_CHILDREN)
BUSY_S, IDLE_S = 0.1, 0.3  # between two looks at the rows
CHILD_S = 0.5
JOIN_S = 5.0
SORRY_S = 3.0  # after a failure that may pass: a full disk, a scheduler that is away


class JobService:
    """Works off the rows; start it in the server's lifespan.

    Several may be started on one data folder: one is at work, the others take over when it ends.
    """

    def __init__(self) -> None:
        """Nothing happens until ``start``."""
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin in the background; returns at once.

        Raises:
            StorageError: the data folder or the database cannot be used.

        """
        store.ensure_schema()
        self._stop.clear()
        self._threads = [
            threading.Thread(target=self._serve, name="runs", daemon=True),
            threading.Thread(target=device_report, kwargs={"wait": True}, name="device", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads and the local workers; runs at work go on at the next start."""
        self._stop.set()
        for thread in self._threads:
            if thread.name != "device":  # asks a child process; nothing depends on its answer
                thread.join()
        self._threads = []

    def __enter__(self) -> JobService:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _serve(self) -> None:
        with _only_one(self._stop) as ours:
            if not ours:
                return
            slides = threading.Thread(target=self._work_slides, name="slides", daemon=True)
            children = threading.Thread(target=self._work_children, name="children", daemon=True)
            slides.start()
            children.start()
            self._work_runs()
            children.join()  # a training saves where it is; it has a deadline for that
            slides.join(JOIN_S)  # a file that hangs does not hold up the server's end

    def _work_runs(self) -> None:
        loop = RunLoop()
        recovered = False
        while not self._stop.is_set():
            try:
                if not recovered:
                    _recover()
                    recovered = True
                loop.turn()
                self._stop.wait(BUSY_S if loop.busy else IDLE_S)
            except (CmlError, OSError) as e:
                log.warning("Runs wait: %s", e)
                self._stop.wait(SORRY_S)
            except Exception as e:
                log.exception(
                    "The runs at work are given up."
                )  # a silent end of this thread would hang them all
                loop.give_up(e)
                self._stop.wait(SORRY_S)
        try:
            loop.put_back()
        except (CmlError, OSError) as e:
            log.warning("Runs are not put back in the queue, the next start will do it: %s", e)

    def _work_slides(self) -> None:
        while not self._stop.is_set():
            try:
                waiting = pending()
            except CmlError as e:
                log.warning("Slides wait: %s", e)
                self._stop.wait(SORRY_S)
                continue
            done = [try_slide(s, self._stop.is_set) for s in waiting if not self._stop.is_set()]
            self._stop.wait(IDLE_S if all(done) else SORRY_S)

    def _work_children(self) -> None:
        trainings = TrainLoop()
        while not self._stop.is_set():
            try:
                trainings.turn()
                for children in _CHILDREN:
                    children.turn()
                self._stop.wait(CHILD_S)
            except (CmlError, OSError) as e:
                log.warning("Trainings, evaluations, namings and benches wait: %s", e)
                self._stop.wait(SORRY_S)
        EXPLAINER.stop()
        for loop in (*_CHILDREN, trainings):
            try:
                loop.stop()
            except (CmlError, OSError) as e:
                log.warning("A job is not put back in the queue, the next start will do it: %s", e)


def _recover() -> None:
    """Runs that a server which is no more had at work wait again; those it was asked to cancel are."""
    for row in store.list_runs(None, "running"):
        if not row.cancel_requested:
            requeue(row.id)


@contextlib.contextmanager
def _only_one(stop: threading.Event) -> Iterator[bool]:
    """Hold the data folder's lock, which goes with this process; False if stopped while waiting for it."""
    path = settings().home / "jobs.lock"
    with path.open("a") as file:
        while not locked(file):
            if stop.wait(1.0):
                yield False
                return
        yield True
