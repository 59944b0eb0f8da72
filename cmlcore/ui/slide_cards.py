"""The slides page's parts: one card a slide, and the dialogs that open from it."""

from __future__ import annotations

from functools import partial
from html import escape

import streamlit as st

from cmlcore import store
from cmlcore.geometry import Mpp
from cmlcore.jobs import delete_slide, recheck_slide
from cmlcore.slides.base import SlideInfo
from cmlcore.store import Slide
from cmlcore.ui import format as fmt
from cmlcore.ui import widgets
from cmlcore.ui.data import extent_text
from cmlcore.ui.pixel_size import pixel_size_form
from cmlcore.ui.selection import SLIDE, choose

DETAILS, PIXEL_SIZE, RECHECK, DELETE = "Details and name", "Pixel size", "Check again", "Delete"
_ICONS = {DETAILS: "info", PIXEL_SIZE: "straighten", RECHECK: "refresh", DELETE: "delete"}
_PASSING = {
    "checking": "Reading the file’s facts",
    "converting": "Preparing tiles; the slide can be opened already",
    "deleting": "Deleting",
}
_KINDS = {"brightfield": "Brightfield", "grey": "Grey", "fluorescence": "Fluorescence"}


def slide_card(slide: Slide, runs: int) -> None:
    """Picture, name, facts, status and what can be done."""
    with st.container(border=True, key=f"card-{slide.id}", gap="xsmall", height="stretch"):
        st.html(thumbnail_html(slide))
        st.markdown(f"**{widgets.plain(slide.name)}**")
        _facts(slide, runs)
        st.space("stretch")
        _actions(slide)


def thumbnail_html(slide: Slide) -> str:
    """The first scene's thumbnail, or a quiet field where there is none."""
    if slide.status not in ("ready", "converting") or slide.info is None:
        return '<div class="cmlp-thumb"></div>'
    url = f"/thumbnails/{slide.id}/0.jpeg?side=512"
    image = f'<img src="{url}" alt="Overview of {escape(slide.name)}" loading="lazy">'
    return f'<div class="cmlp-thumb">{image}</div>'


def _facts(slide: Slide, runs: int) -> None:
    info = slide.info
    if slide.status == "refused":
        st.markdown(f":red[:material/block: {widgets.plain(slide.message)}]")
        return
    if info is not None:
        widest = max(info.scenes, key=lambda s: s.size.w * s.size.h)
        mpp = slide.mpp
        size = fmt.extent(widest.size.w, widest.size.h, (mpp.x, mpp.y) if mpp else None)
        scenes = f" · {len(info.scenes)} scenes" if len(info.scenes) > 1 else ""
        st.caption(f"{info.format} · {size}{scenes}  \n{_scale(slide, info)}{_runs(runs)}")
    if slide.status in _PASSING:
        _watched(slide.id, slide.status)


@st.fragment(run_every=1.0)
def _watched(slide_id: str, status: str) -> None:
    """Progress of a slide on its way in; the page is drawn anew once it has arrived."""
    now = {s.id: s for s in store.list_slides()}.get(slide_id)
    if now is None or now.status != status:
        st.rerun()
    st.progress(now.progress, _PASSING[status])


def _runs(runs: int) -> str:
    return f" · {runs} run{'s' if runs > 1 else ''}" if runs else ""


def _scale(slide: Slide, info: SlideInfo) -> str:
    mpp = slide.mpp
    parts = []
    if mpp is None:
        parts.append(":orange[Pixel size unknown]")
    else:
        parts.append(
            f"{fmt.significant(mpp.mean)}\u202fµm/px{' (estimate)' if slide.mpp_is_estimate else ''}"
        )
    if info.objective is not None:
        parts.append(f"{info.objective:g}×")
    if info.kind != "brightfield":
        parts.append(_KINDS.get(info.kind, info.kind))
    return " · ".join(parts)


def _actions(slide: Slide) -> None:
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        can_open = slide.status in ("ready", "converting") and slide.info is not None
        if st.button(
            "Open", key=f"open-{slide.id}", disabled=not can_open, width="stretch", icon=":material/biotech:"
        ):
            choose(SLIDE, slide.id)
            st.switch_page("../../pages/viewer.py", query_params={SLIDE: slide.id})
        action = st.menu_button(
            "",
            _options(slide),
            key=f"menu-{slide.id}",
            icon=":material/more_vert:",
            format_func=lambda o: f":material/{_ICONS[o]}: {o}",
            help="More",
        )
    if action == DELETE:
        confirm_delete(slide)
    elif action == DETAILS:
        details(slide)
    elif action == PIXEL_SIZE:
        pixel_size(slide)
    elif action == RECHECK:
        with widgets.said_plainly():
            recheck_slide(slide.id)
            st.rerun()


def _options(slide: Slide) -> list[str]:
    if slide.status == "refused":
        return [RECHECK, DELETE]
    return [DETAILS, PIXEL_SIZE, DELETE] if slide.info else [DELETE]


def all_facts(slide: Slide) -> dict[str, str]:
    """Every fact of a slide that may be shown."""
    info = slide.info
    pairs = {"Identifier": slide.id, "File size": fmt.size_bytes(slide.size_bytes)}
    if info is None:
        return pairs
    pairs["Format"] = f"{info.format}, {info.compression}" if info.compression else info.format
    pairs["Kind"] = f"{_KINDS.get(info.kind, info.kind)}, {info.channels} × {info.bits} bit"
    for scene in info.scenes:
        pairs["Size" if len(info.scenes) == 1 else f"Scene {scene.index + 1}"] = extent_text(slide, scene)
    pairs["Pixel size"] = pixel_size_text(slide.mpp, is_estimate=slide.mpp_is_estimate)
    pairs["Objective"] = f"{info.objective:g}×" if info.objective is not None else "not said by the file"
    pairs["Resolution levels"] = str(info.levels)
    if info.acquired_at:
        pairs["Scanned on"] = info.acquired_at
    pairs["Added"] = fmt.when(slide.created_at)
    if info.has_label:
        pairs["Label image"] = "present in the file; never shown or exported"
    return pairs


def pixel_size_text(mpp: Mpp | None, *, is_estimate: bool) -> str:
    """Pixel size, both axes where they differ, and whether it is an estimate."""
    if mpp is None:
        return "not said by the file"
    same = abs(mpp.x / mpp.y - 1) < 1e-4
    text = fmt.significant(mpp.x, 4) if same else f"{fmt.significant(mpp.x, 4)} × {fmt.significant(mpp.y, 4)}"
    return f"{text}\u202fµm{' (estimate)' if is_estimate else ''}"


@st.dialog("Slide", width="medium", icon=":material/info:")
def details(slide: Slide) -> None:
    """Facts, warnings, and the slide's name to change."""
    with (
        st.form(f"rename-{slide.id}", border=False),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        name = st.text_input("Name", slide.name, max_chars=200)
        renamed = st.form_submit_button("Rename")
    if renamed:
        with widgets.said_plainly():
            store.rename_slide(slide.id, name)
            st.rerun()
    widgets.facts(all_facts(slide))
    for warning in slide.info.warnings if slide.info else ():
        st.warning(warning, icon=":material/warning:")


@st.dialog("Pixel size", icon=":material/straighten:")
def pixel_size(slide: Slide) -> None:
    """Enter or correct the pixel size."""
    if pixel_size_form(slide):
        st.rerun()


@st.dialog("Delete this slide?", icon=":material/delete:")
def confirm_delete(slide: Slide) -> None:
    """Say what goes, and delete."""
    runs = len(store.list_runs(slide.id))
    what = "The slide" + (f" and its {runs} run{'s' if runs > 1 else ''} with all cells" if runs else "")
    kept = " The file in the import folder stays where it is." if slide.imported_in_place else ""
    st.markdown(f"**{widgets.plain(slide.name)}**  \n{what} will be removed. This cannot be undone.{kept}")
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Keep"):
            st.rerun()
        if st.button("Delete", type="primary", icon=":material/delete:", on_click=partial(_forget, slide.id)):
            with widgets.said_plainly():
                delete_slide(slide.id)
                st.rerun()


def _forget(slide_id: str) -> None:
    if st.query_params.get(SLIDE) == slide_id:
        st.query_params.clear()
