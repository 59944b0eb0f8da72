"""``python -m cmlcore.jobs.evaluate_child FOLDER``: do one evaluation and leave its result in the folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from cmlcore import store
from cmlcore.errors import CmlError, InputError, RunCancelledError
from cmlcore.evaluation.loss import with_loss
from cmlcore.evaluation.result import Evaluation
from cmlcore.evaluation.stored import save
from cmlcore.ground_truth import Record, load, slide_labels
from cmlcore.jobs.child import CANCELLED, stop_requested, write_status
from cmlcore.jobs.evaluate import EvaluationRequest, read_request

NO_MEMORY = "There was not enough memory; free some, or judge fewer images, and start again."
TELL_S = 0.5  # between two words on how far it is


def main() -> None:
    """Evaluate; whatever goes wrong becomes one sentence in the folder's status."""
    folder = Path(sys.argv[1])
    try:
        evaluate_folder(folder)
    except RunCancelledError:
        write_status(folder, state="cancelled", message=CANCELLED)
    except CmlError as e:
        write_status(folder, state="failed", message=str(e))
    except MemoryError:
        write_status(folder, state="failed", message=NO_MEMORY)
    except RuntimeError as e:
        if type(e).__name__ != "OutOfMemoryError":  # torch's own, which need not be imported for a run
            raise
        write_status(folder, state="failed", message=NO_MEMORY)


def evaluate_folder(folder: Path) -> None:
    """Do what the folder's request asks for.

    Raises:
        CmlError: of the kind that fits.

    """
    request = read_request(folder)
    if request is None:
        raise InputError("What was asked for cannot be read; ask for a new evaluation.")
    began = time.monotonic()
    write_status(folder, stage="Reading the ground truth", message="", done=0, total=0, left_s=None)
    cancelled = _watch(folder)
    if request.run is not None:
        made = _of_run(request, folder, cancelled)
    else:
        made = _of_model(request, folder, _teller(folder), cancelled)
    save(with_loss(made), folder)
    write_status(folder, state="done", stage="", message="", left_s=None, seconds=time.monotonic() - began)


def _of_model(
    request: EvaluationRequest,
    folder: Path,
    tell: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> Evaluation:
    from cmlcore.evaluation import evaluate_records
    from models.registry import load_model

    found = spread(ground_truth(request), request.limit)
    write_status(folder, stage="Loading the network", total=len(found))
    model = load_model(str(request.model), request.device, request.threads)
    return evaluate_records(
        model,
        found,
        None,
        min_score=request.min_score,
        bootstrap=request.bootstrap,
        mpp=request.mpp,
        seed=request.seed,
        data=request.data.name,
        progress=tell,
        cancelled=cancelled,
    )


def _of_run(request: EvaluationRequest, folder: Path, cancelled: Callable[[], bool]) -> Evaluation:
    from cmlcore.evaluation import evaluate_run

    run = store.get_run(str(request.run))
    slide = store.get_slide(run.slide_id)
    if slide.info is None:
        raise InputError("The slide of this run is being checked; wait until it is ready.")
    size = slide.info.scenes[run.scene].size
    labels = slide_labels(request.data, (size.w, size.h), (run.mpp_x + run.mpp_y) / 2, "slide")
    if cancelled():
        raise RunCancelledError(CANCELLED)
    write_status(folder, stage="Computing figures and intervals", total=1)
    return evaluate_run(
        store.run_dir(run.id),
        [labels],
        min_score=request.min_score,
        bootstrap=request.bootstrap,
        seed=request.seed,
    )


def ground_truth(request: EvaluationRequest) -> list[Record]:
    """The labelled images of a request.

    Raises:
        InputError: none is found, or none in the part asked for.

    """
    found = load(request.data, request.part)
    if not found:
        part = {"val": "validation", "train": "training", "test": "test", "all": "labelled"}[request.part]
        raise InputError(f"This ground truth has no {part} part; choose another part, or other data.")
    if request.image_mpp is not None:
        found = [replace(r, mpp=r.mpp or request.image_mpp) for r in found]
    return found


def spread(found: list[Record], limit: int | None) -> list[Record]:
    """At most ``limit`` of them, evenly spaced."""
    if limit is None or limit >= len(found):
        return found
    return [found[i] for i in np.linspace(0, len(found) - 1, limit).astype(int)]


def _teller(folder: Path) -> Callable[[int, int], None]:
    """A function that writes down how many images are judged, and about how long the rest takes."""
    began, last = time.monotonic(), 0.0

    def tell(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < TELL_S and done < total:
            return
        last = now
        left = (now - began) / done * (total - done) if done else None
        stage = "Judging images" if done < total else "Computing figures and intervals"
        write_status(folder, stage=stage, done=done, total=total, left_s=left)

    return tell


def _watch(folder: Path) -> Callable[[], bool]:
    return lambda: stop_requested(folder)


if __name__ == "__main__":
    main()
