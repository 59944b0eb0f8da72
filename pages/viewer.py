"""Viewer: the slide, its cells, and the way to have them outlined."""

from __future__ import annotations

import streamlit as st

from cmlcore import store
from cmlcore.ui import data, selection, widgets
from cmlcore.ui.workspace import workspace

selection.complete()
slides = {s.id: s for s in store.list_slides("ready", "converting") if s.info}
if not slides:
    with widgets.empty_state("biotech", "Nothing to look at yet", "Add a slide first; it opens here."):
        st.page_link("../../pages/slides.py", label="Go to Slides", icon=":material/photo_library:")
    st.stop()

with st.container(horizontal=True, vertical_alignment="center", gap="small", key="toolbar"):
    slide_id = selection.select_slide(slides)
    slide = slides[slide_id]
    scene = 0
    if len(slide.info.scenes) > 1:
        names = {str(s.index): s.name or f"Scene {s.index + 1}" for s in slide.info.scenes}
        scene = int(
            selection.select(
                selection.SCENE, "Scene", list(names), names.__getitem__, icon=":material/layers:"
            )
        )
    runs = {r.id: r for r in store.list_runs(slide.id) if r.scene == scene}
    latest = next(
        (r.id for r in runs.values() if r.status in ("running", "queued", "done")), selection.NO_RUN
    )
    run_id = selection.select(
        selection.RUN,
        "Run",
        [*runs, selection.NO_RUN],
        lambda k: data.run_title(runs[k]) if k in runs else "Slide alone",
        default=latest,
        icon=":material/scatter_plot:",
    )

workspace(slide, scene, runs.get(run_id), st.query_params.get(selection.CLS))
