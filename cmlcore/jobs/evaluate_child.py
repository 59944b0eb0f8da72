"""``python -m cmlcore.jobs.evaluate_child FOLDER``: do one evaluation and leave its result in the folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cmlcore import store
from cmlcore.errors import InputError, RunCancelledError
from cmlcore.evaluation.loss import with_loss
from cmlcore.evaluation.result import Evaluation
from cmlcore.evaluation.stored import save
from cmlcore.ground_truth import Record, load, slide_labels, spread
from cmlcore.job_folder import stop_requested
from cmlcore.jobs.child import CANCELLED
from cmlcore.jobs.child_work import Tell, teller, work
from cmlcore.jobs.evaluate import EVALUATIONS, EvaluationRequest

NO_MEMORY = "There was not enough memory; free some, or judge fewer images, and start again."
_COMPUTING = "Computing figures and intervals"


def main() -> None:
    """Evaluate; whatever goes wrong becomes one sentence in the folder's status."""
    work(Path(sys.argv[1]), evaluate_folder, NO_MEMORY)


def evaluate_folder(folder: Path) -> None:
    """Do what the folder's request asks for.

    Raises:
        CmlError: of the kind that fits.

    """
    asked, tell = EVALUATIONS.asked(folder), teller(folder)

    def cancelled() -> bool:
        return stop_requested(folder)

    tell("Reading the ground truth", 0, 0)
    made = _of_model(asked, tell, cancelled) if asked.run is None else _of_run(asked, tell, cancelled)
    save(with_loss(made), folder)


def _of_model(asked: EvaluationRequest, tell: Tell, cancelled: Callable[[], bool]) -> Evaluation:
    from cmlcore.evaluation import evaluate_records
    from models.registry import load_model

    found = spread(ground_truth(asked), asked.limit)
    tell("Loading the network", 0, len(found))
    model = load_model(str(asked.model), asked.device, asked.threads)

    def judged(done: int, total: int) -> None:
        tell("Judging images" if done < total else _COMPUTING, done, total)

    judged(0, len(found))
    return evaluate_records(
        model,
        found,
        None,
        min_score=asked.min_score,
        bootstrap=asked.bootstrap,
        mpp=asked.mpp,
        seed=asked.seed,
        data=asked.data.name,
        progress=judged,
        cancelled=cancelled,
    )


def _of_run(asked: EvaluationRequest, tell: Tell, cancelled: Callable[[], bool]) -> Evaluation:
    from cmlcore.evaluation import evaluate_run

    run = store.get_run(str(asked.run))
    slide = store.get_slide(run.slide_id)
    if slide.info is None:
        raise InputError("The slide of this run is being checked; wait until it is ready.")
    size = slide.info.scenes[run.scene].size
    labels = slide_labels(asked.data, (size.w, size.h), (run.mpp_x + run.mpp_y) / 2, "slide")
    if cancelled():
        raise RunCancelledError(CANCELLED)
    tell(_COMPUTING, 0, 1)
    return evaluate_run(
        store.run_dir(run.id),
        [labels],
        min_score=asked.min_score,
        bootstrap=asked.bootstrap,
        seed=asked.seed,
    )


def ground_truth(asked: EvaluationRequest) -> list[Record]:
    """The labelled images that are asked for.

    Raises:
        InputError: none is found, or none in the part asked for.

    """
    found = load(asked.data, asked.part)
    if not found:
        part = {"val": "validation", "train": "training", "test": "test", "all": "labelled"}[asked.part]
        raise InputError(f"This ground truth has no {part} part; choose another part, or other data.")
    if asked.image_mpp is not None:
        found = [replace(r, mpp=r.mpp or asked.image_mpp) for r in found]
    return found


if __name__ == "__main__":
    main()
