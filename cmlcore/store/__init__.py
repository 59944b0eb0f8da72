"""The database: slides and runs."""

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
from cmlcore.store.tables import ACTIVE, Polygon, Run, RunStatus, Slide, SlideStatus, Stage

__all__ = [
    "ACTIVE",
    "Polygon",
    "Run",
    "RunStatus",
    "Slide",
    "SlideStatus",
    "Stage",
    "add_run",
    "add_slide",
    "cancel_requests",
    "delete_run",
    "delete_slide",
    "ensure_schema",
    "get_run",
    "get_slide",
    "list_runs",
    "list_slides",
    "rename_slide",
    "run_dir",
    "session",
    "set_mpp",
    "tile_cache",
    "update_run",
    "update_slide",
]
