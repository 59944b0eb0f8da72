"""The viewer page's body: the picture, and beside it progress, cells and the panel that asks for a run."""

from __future__ import annotations

import streamlit as st

from cmlcore.classes import UNIDENTIFIED
from cmlcore.errors import CmlError
from cmlcore.jobs import resume_run
from cmlcore.store import ACTIVE, Polygon, Run, Slide
from cmlcore.ui import data, tables, widgets
from cmlcore.ui import format as fmt
from cmlcore.ui.cell_facts import cell_facts
from cmlcore.ui.progress import live_progress
from cmlcore.ui.segment_panel import segment_panel
from cmlcore.ui.selection import RUN, SLIDE
from cmlcore.ui.theme import PICTURE_HEIGHT
from cmlcore.ui.viewer import around, slide_viewer


@st.fragment
def workspace(slide: Slide, scene: int, run: Run | None, only: str | None = None) -> None:
    """Picture and panel; a click on a cell draws only this anew. ``only``: the one class shown at first."""
    picture, panel = st.columns([4, 1.15], gap="medium")
    panel = panel.container(key="beside-viewer")
    overlay = run.id if run and (run.status in ACTIVE or run.blocks_done) else None
    with picture, widgets.said_plainly():
        seen = slide_viewer(
            slide.id,
            scene,
            run_id=overlay,
            key=f"viewer-{slide.id}-{scene}",
            height=PICTURE_HEIGHT,
            draw="rectangle",
            rois=run.rois if run else None,
            filters={"classes": [only], "min_score": 0.0} if only else None,
            position=around(run.rois if run else None, 760, PICTURE_HEIGHT),
            card=False,
            mpp=slide.mpp.mean if slide.mpp else None,
        )
        with panel:
            _panel(slide, scene, run, seen.cell, seen.rois)


def _panel(slide: Slide, scene: int, run: Run | None, cell: int | None, drawn: list[Polygon] | None) -> None:
    if run is not None and run.status in ACTIVE:
        live_progress(run.id)
    elif run is not None and run.status != "done":
        _broken_off(run)
    rois = drawn if drawn is not None else (run.rois if run else None)
    cells, segment = st.tabs(["Cells", "Segment"], default="Cells" if run else "Segment")
    with cells:
        if run is None:
            st.caption("Choose a run above, or start one under Segment.")
        elif run.blocks_done and run.status not in ACTIVE:
            _cells(run, cell)
        else:
            st.caption("Cells appear here when the run is done.")
    with segment:
        segment_panel(slide, scene, rois)


def _broken_off(run: Run) -> None:
    with st.container(border=True, gap="small"):
        widgets.status_badge(run.status)
        st.markdown(run.message)
        if st.button("Resume", icon=":material/play_arrow:", key=f"resume-{run.id}"):
            with widgets.said_plainly():
                resume_run(run.id)
                st.rerun()


def _cells(run: Run, cell: int | None) -> None:
    question = data.ask(run)
    try:
        stats = data.class_stats(question)
        found = data.table(question).cell(cell) if cell is not None else None
    except CmlError as e:
        st.error(str(e), icon=":material/error:")
        return
    lines = tables.count_lines([s for s in stats if s.key != UNIDENTIFIED], data.area_mm2(run))
    st.html(counts_html(lines))
    unsure = next((s.count for s in stats if s.key == UNIDENTIFIED), 0)
    if unsure:
        st.caption(
            f"{fmt.count(unsure)} more are unidentified: found, but too unsure to name. "
            "Tick them in the legend of the picture to see them."
        )
    if run.status == "done":
        st.page_link(
            "../../pages/results.py",
            label="All results",
            icon=":material/bar_chart:",
            query_params={SLIDE: run.slide_id, RUN: run.id},
        )
    st.divider()
    if found is None:
        st.caption(":material/touch_app: Click a cell in the picture to see its facts.")
    else:
        cell_facts(found, data.table(question).prob_classes, data.run_mpp(run))


def counts_html(lines: list[tables.Line]) -> str:
    """Small count table: class, count, share."""
    rows = "".join(
        f"<span>{widgets.chip(x.key) if x.key else 'All cells'}</span>"
        f"<b>{fmt.count(x.count)}</b><span>{fmt.percent(x.share)}</span>"
        for x in lines
    )
    return f'<div class="cmlp-counts">{rows}</div>'
