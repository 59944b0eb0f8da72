"""Which runs' cell tables the routes hold open."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from cmlcore import store
from cmlcore.cells import CellTable
from cmlcore.errors import InputError
from cmlcore.web.answers import NotFoundError

KEPT = 16
FRESH_S = 2.0  # how long a growing table is served before its new parts are looked for


@dataclass(frozen=True, slots=True)
class RunTable:
    """A run's cells as they lie on disk; ``final`` once no more will come."""

    run: store.Run
    cells: CellTable
    final: bool
    opened: float


class RunTables:
    """A small pool of cell tables by run id, least recently used out first. Safe for several threads."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, RunTable] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, run_id: str) -> RunTable:
        """The cells of a run.

        Raises:
            NotFoundError: there is no such run.
            RunError: it has no finished block yet, or a file of it is damaged.

        """
        run = run_row(run_id)
        final = run.status not in store.ACTIVE
        with self._lock:
            held = self._held.get(run_id)
        fresh = held is not None and time.monotonic() - held.opened <= FRESH_S
        if held is not None and (held.final if final else fresh):
            return held
        table = RunTable(run, CellTable(store.run_dir(run_id)), final, time.monotonic())
        with self._lock:
            self._held[run_id] = table
            self._held.move_to_end(run_id)
            while len(self._held) > KEPT:
                self._held.popitem(last=False)
        return table


def run_row(run_id: str) -> store.Run:
    """A run's row; NotFoundError where there is none."""
    try:
        return store.get_run(run_id)
    except InputError as error:
        raise NotFoundError(str(error)) from error
