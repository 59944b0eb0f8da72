"""The shell's door to the same road: one process, no database, the same plan, parts and bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cmlcore.errors import InputError
from cmlcore.files import whole_file
from cmlcore.geometry import Mpp
from cmlcore.jobs.device import worker_threads
from cmlcore.jobs.hashing import hash_slide
from cmlcore.jobs.holding import held_reader, let_go, plainly
from cmlcore.jobs.manifest import finish_run
from cmlcore.jobs.progress import Progress, progress_of
from cmlcore.jobs.regions import checked_rois
from cmlcore.jobs.road import Job, open_run, plan_blocks, work_blocks
from cmlcore.jobs.runs import checked_mpp, checked_scene, checked_settings, usable_card
from cmlcore.jobs.sitting import Sitting
from cmlcore.segmentation import SegmentSettings
from cmlcore.settings import settings as all_settings
from cmlcore.store import Run, Stage
from cmlcore.store.tables import now

JOB = "job.json"


def segment_local(
    path: Path | str,
    model_key: str,
    out_dir: Path | str,
    scene: int = 0,
    rois: Sequence[Sequence[Sequence[float]]] | None = None,
    settings: SegmentSettings | Mapping[str, Any] | None = None,
    mpp: Mpp | None = None,
    device: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Segment a slide here and now; goes on from the parts that a broken-off call left in ``out_dir``.

    Args:
        path: the slide.
        model_key: of a model card.
        out_dir: gets ``parts/*.parquet``, ``plan.json`` and ``manifest.json``; ``CellTable`` reads it.
        scene: index of the scene.
        rois: polygons in level-0 pixels, or None for the whole scene.
        settings: None: the defaults, with the card's ``min_score``.
        mpp: overrides the file's.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps"; None: as ``CML_DEVICE`` says.
        progress: called after every stage and batch, in this thread.

    Returns:
        The manifest, as the page shows it; give it to ``csv_stream`` with ``CellTable(out_dir)``.

    Raises:
        CmlError: of the kind that fits, see ``cmlcore.errors``.

    """
    made = usable_card(model_key)
    source, folder = Path(path).resolve(), Path(out_dir).resolve()
    try:
        with plainly():
            info = held_reader(str(source)).info
            size = checked_scene(info, scene).size
            given = checked_mpp(info, mpp)
            job = Job(
                run_dir=str(folder),
                slide_path=str(source),
                slide_sha256=hash_slide(source),
                scene=scene,
                rois=checked_rois(rois, size),
                mpp=(given.x, given.y),
                mpp_is_estimate=False,
                model=made.key,
                model_sha256=made.sha256,
                settings=checked_settings(settings, made).model_dump(mode="json"),
                device=device or all_settings().device,
                threads=worker_threads(),
            )
            _claim(job)
        return _work(job, progress or (lambda _: None))
    finally:
        let_go()


def _work(job: Job, progress: Callable[[Progress], None]) -> dict[str, Any]:
    sitting = Sitting(
        Run(id="", model=job.model, worked_s=0.0, status="running", message="", started_at=now()), job
    )

    def tell(stage: Stage) -> None:
        sitting.stage = stage
        for column, value in sitting.state().items():
            setattr(sitting.run, column, value)
        progress(progress_of(sitting.run))

    tell("opening")
    sitting.device = open_run(job)
    tell("planning")
    found = plan_blocks(job)
    sitting.begin_segmenting(found)
    tell("segmenting")
    while sitting.todo:
        blocks = sitting.next_blocks()
        sitting.take(blocks, work_blocks(job, sitting.lean_plan, blocks, lambda: False))
        tell("segmenting")
    tell("summarising")
    manifest, _ = finish_run(job, found.plan, sitting.story())
    sitting.run.status = "done"
    tell("finished")
    return manifest


def _claim(job: Job) -> None:
    """Mark the folder as this job's.

    Raises:
        InputError: it holds something else's cells.

    """
    path = job.folder / JOB
    asked = {k: v for k, v in asdict(job).items() if k not in ("run_dir", "slide_path", "threads")}
    text = json.dumps(asked, sort_keys=True)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    if path.exists() or (job.folder / "parts").exists():
        raise InputError("The output folder holds the cells of another run; choose an empty one.")
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
