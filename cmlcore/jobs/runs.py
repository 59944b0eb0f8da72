"""What pages and the shell may do with runs: rows are written here, the service works them off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cmlcore import store
from cmlcore.errors import InputError, ModelError, MppUnknownError
from cmlcore.geometry import Mpp
from cmlcore.jobs.regions import checked_rois
from cmlcore.jobs.road import CANCEL_FLAG, raise_flag
from cmlcore.segmentation import SegmentSettings
from cmlcore.slides.base import Scene, SlideInfo
from cmlcore.store import Polygon
from cmlcore.store.tables import now
from models.registry import ModelCard, card


def submit_run(
    slide_id: str,
    scene: int,
    rois_l0: Sequence[Sequence[Sequence[float]]] | None,
    model_key: str,
    settings: SegmentSettings | Mapping[str, Any] | None = None,
) -> str:
    """Queue a run: everything it depends on is checked and written down now.

    Args:
        slide_id: a slide that is ready.
        scene: index of the scene.
        rois_l0: polygons ``[[x, y], …]`` in level-0 pixels of the scene, or None for the whole scene.
        model_key: of a model card.
        settings: None: the defaults, with the card's ``min_score``.

    Returns:
        The id of the run.

    Raises:
        MppUnknownError: nobody has said how large a pixel is.
        InputError: no such slide, scene or region, or the slide cannot be segmented.
        ModelError: the model or its weights are missing.

    """
    slide = store.get_slide(slide_id)
    info = slide.info
    if info is None or slide.status not in ("ready", "converting"):
        raise InputError(slide.message or "This slide is still being checked; wait until it is ready.")
    made = usable_card(model_key)
    checked_scene(info, scene)
    mpp = checked_mpp(info, slide.mpp)
    rois = checked_rois(rois_l0, info.scenes[scene].size)
    row = store.add_run(
        slide_id=slide_id,
        scene=scene,
        rois=rois,
        model=made.key,
        model_sha256=made.sha256,
        settings=checked_settings(settings, made).model_dump(mode="json"),
        mpp_x=mpp.x,
        mpp_y=mpp.y,
        mpp_is_estimate=slide.mpp_is_estimate,
    )
    return row.id


def usable_card(model_key: str) -> ModelCard:
    """The card of a model whose weights are there.

    Raises:
        ModelError: the model or its weights are missing.

    """
    made = card(model_key)
    if not made.weights.is_file():
        raise ModelError(
            f"The weights of “{made.key}” are missing; put {made.weights.name} back, or choose another."
        )
    return made


def checked_scene(info: SlideInfo, scene: int) -> Scene:
    """The scene, if the slide has it and can be segmented at all.

    Raises:
        InputError: it does not, or it cannot.

    """
    if info.kind != "brightfield":
        raise InputError(
            f"This is a {info.kind} image; it can be viewed, but only brightfield slides can be segmented."
        )
    if not 0 <= scene < len(info.scenes):
        raise InputError(f"The slide has {len(info.scenes)} scene(s); there is no scene {scene + 1}.")
    return info.scenes[scene]


def checked_mpp(info: SlideInfo, given: Mpp | None) -> Mpp:
    """The pixel size to use.

    Raises:
        MppUnknownError: neither the file nor the user says it.

    """
    mpp = given or info.mpp
    if mpp is None:
        raise MppUnknownError("The slide does not say its pixel size; enter the µm per pixel first.")
    return mpp


def checked_settings(given: SegmentSettings | Mapping[str, Any] | None, made: ModelCard) -> SegmentSettings:
    """Settings as asked; the card's ``min_score`` and ``unidentified_score`` where none is asked.

    Raises:
        InputError: a value is out of bounds.

    """
    if isinstance(given, SegmentSettings):
        return given
    try:
        own = {"min_score": made.min_score, "unidentified_score": made.unidentified_score}
        return SegmentSettings(**{**own, **(given or {})})
    except ValueError as e:  # pydantic
        raise InputError(f"A setting cannot be used: {e}.") from e


def cancel_run(run_id: str) -> None:
    """Cancel a run; finished blocks are kept. Cancelling a run that is over changes nothing.

    Raises:
        InputError: there is no such run.

    """
    store.get_run(run_id)
    ended = {"status": "cancelled", "cancel_requested": True, "finished_at": now(), "message": CANCELLED}
    if store.update_run(run_id, only=("queued",), **ended):
        return
    if store.update_run(run_id, only=("running",), cancel_requested=True):
        raise_flag(store.run_dir(run_id))


CANCELLED = "Cancelled; the blocks done so far are kept, and the run can be resumed."


def resume_run(run_id: str) -> None:
    """Queue a failed or cancelled run again; it goes on from the blocks that are done.

    Raises:
        InputError: there is no such run, or it is at work or done.

    """
    row = store.get_run(run_id)
    if row.status not in ("failed", "cancelled"):
        raise InputError(f"This run is {row.status}; only a failed or cancelled run can be resumed.")
    (store.run_dir(run_id) / CANCEL_FLAG).unlink(missing_ok=True)
    fresh = {
        "status": "queued",
        "stage": "waiting",
        "cancel_requested": False,
        "message": "",
        "stage_fraction": 0.0,
    }
    store.update_run(run_id, only=("failed", "cancelled"), finished_at=None, eta_s=None, **fresh)


def delete_run(run_id: str) -> None:
    """Delete a run that is not at work, with its cells.

    Raises:
        InputError: the run is still active, or there is no such run.

    """
    store.delete_run(run_id)


def run_dir(run_id: str) -> Path:
    """Folder of a run: ``parts/*.parquet`` and ``manifest.json``; give it to ``CellTable``."""
    return store.run_dir(run_id)


def run_manifest(run_id: str) -> dict[str, Any]:
    """The manifest of a finished run.

    Raises:
        InputError: the run is not done, or there is no such run.

    """
    row = store.get_run(run_id)
    if row.manifest is None:
        raise InputError("This run is not finished; its report is ready when it is.")
    return row.manifest


def run_rois(run_id: str) -> list[Polygon] | None:
    """The regions of a run, level-0 pixels; None: the whole scene."""
    return store.get_run(run_id).rois
