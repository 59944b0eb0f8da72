"""Results: what one run found, in numbers and places, and the ways to take it away."""

from __future__ import annotations

import streamlit as st

from cmlcore import store
from cmlcore.ui import data, results, selection, widgets

selection.complete()
runs_of = {}
for row in store.list_runs():
    if row.blocks_done and row.status not in store.ACTIVE:
        runs_of.setdefault(row.slide_id, {})[row.id] = row
slides = {s.id: s for s in store.list_slides() if s.id in runs_of}

if not slides:
    widgets.header("Results")
    with widgets.empty_state(
        "bar_chart", "No results yet", "Open a slide, outline its cells, and the numbers stand here."
    ):
        st.page_link("../../pages/viewer.py", label="Go to the viewer", icon=":material/biotech:")
    st.stop()

with st.container(horizontal=True, vertical_alignment="center", gap="small", key="toolbar"):
    slide_id = selection.select_slide(slides)
    runs = runs_of[slide_id]
    run_id = selection.select(
        selection.RUN, "Run", list(runs), lambda k: data.run_title(runs[k]), icon=":material/scatter_plot:"
    )
    results.downloads(runs[run_id])

results.body(runs[run_id])
