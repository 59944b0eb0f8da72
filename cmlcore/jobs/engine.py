"""Dask as an executor: a local cluster of worker processes by default, or a scheduler elsewhere."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from typing import Any, Protocol, cast

from cmlcore.errors import CmlError, RunError
from cmlcore.jobs.device import worker_threads
from cmlcore.settings import settings
from cmlcore.store.ids import new_id

log = logging.getLogger(__name__)
_MEMORY_SHARE = 0.85  # of the machine, over all workers; the rest is the server's
_RETRIES = 2  # how often a batch may take a worker down before it is given up
_OVER_S = 2.0  # a worker elsewhere that is asked to end is killed after this
_CLOSE_S = 10.0
CONNECT_S = 10.0


class Future(Protocol):
    """The part of Dask's future that is used here."""

    key: str

    def done(self) -> bool:
        """Whether it has ended in any way."""

    def result(self, timeout: float | None = None) -> Any:
        """Its value; only after ``done``."""

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Its exception, if it failed."""

    def cancelled(self) -> bool:
        """Whether it was called off or lost."""


class Engine:
    """Worker processes. Used from one thread."""

    def __init__(self) -> None:
        """Start the workers, or connect to the scheduler that ``CML_DASK`` names.

        Raises:
            RunError: the scheduler does not answer.

        """
        import dask  # here and not above: the first page must not wait for it
        import distributed
        from distributed.system import MEMORY_LIMIT  # heeds the limits of a container

        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # we say what failed ourselves
        local_cluster: Any = distributed.LocalCluster  # its types are not declared
        client: Any = distributed.Client
        wanted = settings()
        dask.config.set(_dask_config())
        self._cluster: Any = None
        if not wanted.dask:
            self._cluster = local_cluster(
                n_workers=wanted.workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",  # no passwords on these ports: nobody else may reach them
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                local_directory=str(wanted.home / "dask"),
                memory_limit=int(MEMORY_LIMIT * _MEMORY_SHARE / wanted.workers),
                silence_logs=logging.CRITICAL,
            )
        self._tag = new_id()
        self._numbers = count()
        try:
            self._client: Any = client(self._cluster or wanted.dask, timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError) as e:
            raise RunError(
                f"The Dask scheduler {wanted.dask} does not answer; start it or unset CML_DASK."
            ) from e

    @property
    def slots(self) -> int:
        """How many batches are worked at the same time."""
        return max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))

    @property
    def alive(self) -> bool:
        """Whether the scheduler still answers."""
        return bool(self._client.status == "running")

    def submit(self, step: Callable[..., Any], *args: Any) -> Future:
        """Have a worker call ``step(*args)``; called again elsewhere should the worker die."""
        key = f"{step.__name__}-{self._tag}-{next(self._numbers):09d}"  # workers take the lowest number first
        return cast(Future, self._client.submit(step, *args, pure=False, key=key))

    def call_off(self, futures: Iterable[Future]) -> None:
        """Drop steps that have not begun; one that has begun ends when it looks at its cancel flag."""
        self._client.cancel(list(futures), force=True)

    def workers_at(self, futures: Iterable[Future]) -> list[str]:
        """Addresses of the workers that are at one of the steps right now, not merely to do it next."""
        keys = {f.key for f in futures}
        given = self._client.processing()
        return [
            w for w, at in given.items() if keys & {min(filter(self._is_ours, at), key=_number, default="")}
        ]

    def kill(self, addresses: Iterable[str]) -> None:
        """End workers that do not listen; their nannies start fresh ones."""
        far = []
        pids = {n.worker_address: n.pid for n in self._cluster.workers.values()} if self._cluster else {}
        for address in addresses:
            if pid := pids.get(address):
                log.warning("Worker %s does not stop; it is killed.", pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            else:
                far.append(address)
        if far:
            self._client.restart_workers(far, timeout=_OVER_S, raise_for_error=False)

    def close(self) -> None:
        """End the local workers at once, whatever they are at, or leave the scheduler."""
        for nanny in self._cluster.workers.values() if self._cluster else ():
            nanny.auto_restart = False
            if nanny.pid:
                with suppress(ProcessLookupError):
                    os.kill(nanny.pid, signal.SIGKILL)  # it holds nothing that a repetition would not give
        for part in (self._client, self._cluster):
            if part is not None:
                with suppress(TimeoutError):  # the rest goes with this process
                    part.close(timeout=_CLOSE_S)

    def _is_ours(self, key: object) -> bool:
        return self._tag in str(key)


def _number(key: object) -> int:
    return int(str(key).rpartition("-")[2])


def sentence(error: BaseException) -> str:
    """What to tell the user about a step that failed."""
    from distributed import KilledWorker

    if isinstance(error, CmlError):
        return str(error)
    if isinstance(error, KilledWorker):
        return (
            "The worker died several times at the same place, most likely for lack of memory; "
            "choose a smaller region or fewer workers, and resume the run."
        )
    return f"The run failed unexpectedly ({type(error).__name__}); the log says more."


def _dask_config() -> dict[str, Any]:
    threads = str(worker_threads())
    return {
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads),
        "distributed.scheduler.allowed-failures": _RETRIES,
        "distributed.scheduler.http.routes": [],  # Dask opens these ports in any case; they shall say nothing
        "distributed.worker.http.routes": [],
        "distributed.nanny.http.routes": [],
        "distributed.worker.memory.target": False,  # batches are small; nothing is worth spilling to disk
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": 0.98,
    }
