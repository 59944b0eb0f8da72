"""What starts and stops with the server: the job service, in the background, for no page may wait for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread

from cmlcore.errors import CmlError

log = logging.getLogger(__name__)


class Background:
    """Starts the job service in a thread of its own; importing Dask takes longer than a page may."""

    def __init__(self) -> None:
        from cmlcore.jobs import JobService

        self._service = JobService()
        self._starting = threading.Thread(target=self._start, name="job-service-start", daemon=True)

    def _start(self) -> None:
        from cmlcore.web.uploads import sweep

        try:
            sweep()
            self._service.start()
        except CmlError as error:
            log.error("The job service did not start; runs and new slides wait for the next start. %s", error)

    def start(self) -> None:
        """Begin; returns at once."""
        self._starting.start()

    def stop(self) -> None:
        """End the service; runs at work go on at the next start."""
        self._starting.join()
        self._service.stop()


@asynccontextmanager
async def lifespan(app: object) -> AsyncIterator[None]:  # noqa: ARG001
    """The server's lifespan."""
    from cmlcore.store import ensure_schema
    from cmlcore.web.tiles import slides

    await to_thread.run_sync(ensure_schema)
    background = Background()
    background.start()
    try:
        yield
    finally:
        await to_thread.run_sync(background.stop)
        await to_thread.run_sync(slides.close)
