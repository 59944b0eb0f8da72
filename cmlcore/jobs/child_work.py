"""What the modules that work in a child process share: every end becomes a sentence, progress is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from cmlcore.errors import CmlError, RunCancelledError
from cmlcore.files import NO_SPACE
from cmlcore.job_folder import write_status
from cmlcore.jobs.child import CANCELLED

NO_MEMORY = "There was not enough memory; free some, or take fewer images, and start again."
FULL = "The disk is full; free some space and start again."
TELL_S = 0.5  # between two words on how far it is

Tell = Callable[[str, int, int], None]
"""Progress: what is done, how much of it, of how much."""


def work(folder: Path, do: Callable[[Path], None], no_memory: str = NO_MEMORY) -> None:
    """Do a folder's work; whatever goes wrong becomes one sentence in its status.

    ``no_memory`` is the sentence for what does not fit.
    """
    began = time.monotonic()
    try:
        do(folder)
        write_status(
            folder, state="done", stage="", message="", left_s=None, seconds=time.monotonic() - began
        )
    except RunCancelledError:
        write_status(folder, state="cancelled", message=CANCELLED)
    except CmlError as e:
        write_status(folder, state="failed", message=str(e))
    except MemoryError:
        write_status(folder, state="failed", message=no_memory)
    except RuntimeError as e:
        if type(e).__name__ != "OutOfMemoryError":  # torch's own, which need not be imported here
            raise
        write_status(folder, state="failed", message=no_memory)
    except OSError as e:
        if e.errno not in NO_SPACE:
            raise
        write_status(folder, state="failed", message=FULL)


def teller(folder: Path) -> Tell:
    """A function that writes down what is done, how far it is, and about how long that takes."""
    stage, began, last = "", 0.0, 0.0

    def tell(what: str, done: int, total: int) -> None:
        nonlocal stage, began, last
        now = time.monotonic()
        if what != stage:
            stage, began, last = what, now, 0.0
        if now - last < TELL_S and done < total:
            return
        last = now
        left = (now - began) / done * (total - done) if done and now > began else None
        write_status(folder, stage=what, done=done, total=total, left_s=left)

    return tell
