"""Runs, trainings and slide intake: rows are the truth, Dask is the engine, the service brings them together.

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
from cmlcore.jobs.train import (
    TrainingProgress,
    all_trainings,
    cancel_training,
    delete_training,
    find_training,
    resume_training,
    submit_training,
    training_progress,
)

__all__ = [
    "DeviceReport",
    "JobService",
    "Progress",
    "TrainingProgress",
    "all_trainings",
    "cancel_run",
    "cancel_training",
    "delete_run",
    "delete_slide",
    "delete_training",
    "device_report",
    "find_training",
    "intake_slide",
    "progress",
    "progress_of",
    "recheck_slide",
    "resume_run",
    "resume_training",
    "run_dir",
    "run_manifest",
    "run_rois",
    "segment_local",
    "submit_run",
    "submit_training",
    "training_progress",
]
