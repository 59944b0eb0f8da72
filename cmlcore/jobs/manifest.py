"""The last step: cells in one file, the summary, and the manifest that says how the run came about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cmlcore import RESEARCH_USE
from cmlcore.cells import CELL_SCHEMA, CellTable, finished_blocks, merge_parts, with_run_facts, write_part
from cmlcore.errors import RunError
from cmlcore.files import whole_file
from cmlcore.geometry import Mpp
from cmlcore.jobs.holding import plainly
from cmlcore.jobs.road import Job, cut_cells, recut_count, sweep
from cmlcore.report import summary
from cmlcore.segmentation import Plan, SegmentSettings
from cmlcore.versions import versions
from models.registry import card

MANIFEST = "manifest.json"
_LIBRARIES = (  # what decides a cell's numbers
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "openvino",
    "pylibCZIrw",
    "shapely",
)


def finish_run(job: Job, plan: Plan, told: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Merge the parts, sum up, and write the manifest. May be repeated.

    Args:
        job: the run.
        plan: its cut; every block of it must be done.
        told: facts only the caller knows: ``device``, ``run_id``, ``started``, ``finished``, ``worked_s``,
            ``stage_s``, ``mm2_per_s``.

    Returns:
        The manifest and the summary.

    Raises:
        RunError: a block is missing.
        StorageError: the disk is full.

    """
    with plainly():
        missing = set(plan.blocks) - set(finished_blocks(job.folder))
        if missing:
            raise RunError(f"{len(missing)} block(s) of the run are missing; resume the run.")
        sweep(job.folder)  # a worker may have been killed while it wrote, and its block done by another
        made = card(job.model)
        if not plan.blocks:  # nothing but glass: a table all the same, with no row
            unsure = SegmentSettings(**job.settings).unnamed_below is not None
            facts = with_run_facts(CELL_SCHEMA, made.classes, Mpp(*job.mpp), unidentified=unsure)
            write_part(job.folder, 0, facts.empty_table())
        merge_parts(job.folder)
        summed = summary(CellTable(job.folder), plan.area_mm2)
        manifest = {
            "research_use": RESEARCH_USE,
            "slide_id": f"sha256:{job.slide_sha256[:12]}",  # of the content: page and shell say the same
            "slide_sha256": job.slide_sha256,
            "scene": job.scene,
            "size_l0": list(plan.size_l0),
            "mpp": list(job.mpp),
            "mpp_is_estimate": job.mpp_is_estimate,
            "model": job.model,
            "model_title": made.title,
            "model_sha256": job.model_sha256,
            "model_mpp": plan.model_mpp,
            "classes": list(made.classes),
            "settings": job.settings,
            "seed": None,  # nothing in a run is drawn by lot
            "rois_l0": job.rois,
            "area_mm2": plan.area_mm2,
            "tile": plan.tile,
            "margin": plan.margin,
            "blocks": {
                "total": len(plan.blocks),
                "skipped_empty": plan.skipped_empty,
                "skipped_uncovered": plan.skipped_uncovered,
                "recut": recut_count(job.folder),
            },
            "cells": summed["cells"],
            "cut_cells": cut_cells(job.folder),
            "unidentified": summed["unidentified"],
            "versions": versions(*_LIBRARIES),
            **told,
        }
        with whole_file(job.folder / MANIFEST) as part:
            part.write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
        return manifest, summed
