"""The database: slides, runs and trainings."""

from cmlcore.store.runs import add_run, cancel_requests, delete_run, get_run, list_runs, run_dir, update_run
from cmlcore.store.session import ensure_schema, session
from cmlcore.store.slides import (
    add_slide,
    delete_slide,
    get_slide,
    list_slides,
    rename_slide,
    set_mpp,
    tile_cache,
    update_slide,
)
from cmlcore.store.tables import ACTIVE, Polygon, Run, RunStatus, Slide, SlideStatus, Stage, Training
from cmlcore.store.trainings import (
    add_training,
    delete_training,
    get_training,
    list_trainings,
    training_dir,
    update_training,
)

__all__ = [
    "ACTIVE",
    "Polygon",
    "Run",
    "RunStatus",
    "Slide",
    "SlideStatus",
    "Stage",
    "Training",
    "add_run",
    "add_slide",
    "add_training",
    "cancel_requests",
    "delete_run",
    "delete_slide",
    "delete_training",
    "ensure_schema",
    "get_run",
    "get_slide",
    "get_training",
    "list_runs",
    "list_slides",
    "list_trainings",
    "rename_slide",
    "run_dir",
    "session",
    "set_mpp",
    "tile_cache",
    "training_dir",
    "update_run",
    "update_slide",
    "update_training",
]
