"""Runs and slide intake: rows are the truth, Dask is the engine, the service brings them together.

Nothing here imports torch; networks run in worker processes only.
"""

from cmlcore.jobs.device import DeviceReport, device_report
from cmlcore.jobs.intake import delete_slide, intake_slide, recheck_slide
from cmlcore.jobs.local import segment_local
from cmlcore.jobs.progress import Progress, progress, progress_of
from cmlcore.jobs.runs import (
    cancel_run,
    delete_run,
    resume_run,
    run_dir,
    run_manifest,
    run_rois,
    submit_run,
)
from cmlcore.jobs.service import JobService

__all__ = [
    "DeviceReport",
    "JobService",
    "Progress",
    "cancel_run",
    "delete_run",
    "delete_slide",
    "device_report",
    "intake_slide",
    "progress",
    "progress_of",
    "recheck_slide",
    "resume_run",
    "run_dir",
    "run_manifest",
    "run_rois",
    "segment_local",
    "submit_run",
]
