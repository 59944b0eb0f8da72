"""The panel that asks for a run: model, region, settings; one button."""

from __future__ import annotations

import streamlit as st

from cmlcore.errors import CmlError
from cmlcore.jobs import device_report, submit_run
from cmlcore.store import Polygon, Slide
from cmlcore.ui import format as fmt
from cmlcore.ui import widgets
from cmlcore.ui.data import scene_area_mm2
from cmlcore.ui.pixel_size import likely_range, likely_text, pixel_size_form
from cmlcore.ui.selection import RUN, choose
from models.registry import ModelCard, cards

WHOLE, DRAWN = "Whole scene", "Drawn regions"


def segment_panel(slide: Slide, scene: int, rois: list[Polygon] | None) -> None:
    """Ask for a run, or say why that is not possible and what to do."""
    info = slide.info
    if info is None or info.kind != "brightfield":
        kind = info.kind if info else "unknown"
        st.info(
            f"This is a {kind} image. It can be looked at; the models know stained brightfield slides only.",
            icon=":material/visibility:",
        )
        return
    if slide.mpp is None:
        st.markdown("**How large is a pixel?**")
        st.caption("The file does not say. Cells are measured, and models are fed, in micrometres.")
        if pixel_size_form(slide):
            st.rerun()
        return
    if slide.mpp_is_estimate:
        _estimated(slide, slide.mpp.mean)
    known = cards()
    if not known:
        st.info(
            "No model is installed; put a card and its weights into the models folder.", icon=":material/hub:"
        )
        return
    _form(slide, scene, rois, known)


def _estimated(slide: Slide, mpp: float) -> None:
    """Say that the pixel size is an estimate, with a way to correct it."""
    low, high = likely_range(mpp)
    with st.popover(
        f":orange[Pixel size {fmt.significant(mpp)}\u202fµm, estimated]", icon=":material/straighten:",
        width="stretch",
    ):  # fmt: skip
        st.caption(likely_text(low, high))
        if pixel_size_form(slide):
            st.rerun()


def _form(slide: Slide, scene: int, rois: list[Polygon] | None, known: list[ModelCard]) -> None:
    titles = {c.key: c for c in known}
    key = st.radio(
        "Model",
        list(titles),
        format_func=lambda k: titles[k].title,
        captions=[_about(c) for c in known],
        key="segment-model",
    )
    model = titles[key]
    count = len(rois or ())
    region = st.segmented_control(
        "Region",
        [WHOLE, DRAWN],
        default=DRAWN if count else WHOLE,
        format_func=lambda r: f"{r} ({count})" if r == DRAWN and count else r,
        required=True,
        key=f"segment-region-{bool(count)}",
        width="stretch",
    )
    if region == DRAWN and not count:
        st.caption(":material/draw: Draw a region on the picture with the tool at its edge.")
    settings = _settings(model)
    missing = not model.weights.is_file()
    if missing:
        file = model.weights.name
        st.error(f"The weights of “{model.title}” are missing; put {file} back or choose another model.")
    if st.button(
        "Outline and name the cells",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        disabled=missing or (region == DRAWN and not count),
        key="segment-start",
    ):
        _submit(slide, scene, rois if region == DRAWN else None, key, settings)
    _expectation(slide, scene, rois if region == DRAWN else None, key)


def _about(model: ModelCard) -> str:
    return f"{len(model.classes)} classes, {model.mpp:g}\u202fµm per pixel"


def _settings(model: ModelCard) -> dict[str, object]:
    with st.expander("Settings", icon=":material/tune:"):
        min_score = st.slider(
            "Least confidence", 0.0, 1.0, model.min_score, 0.01, key=f"segment-score-{model.key}",
            help="Cells below are not kept. A filter can hide more later, but not bring these back.",
        )  # fmt: skip
        margin = st.number_input(
            "Overlap of tiles (model pixels)", 0, 1024, None, 8,
            placeholder=f"{model.margin}, as the model asks",
            key=f"segment-margin-{model.key}", help="Raise it where cells are larger than usual.",
        )  # fmt: skip
        skip_empty = st.toggle("Skip blocks that show only glass", value=True, key="segment-skip")
    return {"min_score": min_score, "margin_px": margin, "skip_empty": skip_empty}


def _submit(
    slide: Slide, scene: int, rois: list[Polygon] | None, model: str, settings: dict[str, object]
) -> None:
    try:
        run_id = submit_run(slide.id, scene, rois, model, settings)
    except CmlError as e:
        st.error(str(e), icon=":material/error:")
        return
    choose(RUN, run_id)
    st.rerun()


def _expectation(slide: Slide, scene: int, rois: list[Polygon] | None, model: str) -> None:
    """How large the job is, and about how long it takes where this device has run this model before."""
    with widgets.said_plainly():
        area = scene_area_mm2(slide, scene, rois)
        report = device_report()
        text = fmt.area_mm2(area)
        if report.mm2_per_s and report.model == model:
            text += f" · at most about {fmt.duration(area / report.mm2_per_s)} on {report.name}"
        st.caption(text)
