"""Compare: two runs of one slide, side by side."""

from __future__ import annotations

import streamlit as st

from cmlcore import store
from cmlcore.ui import compare, data, selection, widgets

runs_of = {}
for row in store.list_runs():
    if row.blocks_done and row.status not in store.ACTIVE:
        runs_of.setdefault((row.slide_id, row.scene), {})[row.id] = row
pairs = {key: runs for key, runs in runs_of.items() if len(runs) > 1}
slides = {s.id: s for s in store.list_slides() if any(key[0] == s.id for key in pairs)}

if not slides:
    widgets.header("Compare")
    with widgets.empty_state(
        "compare",
        "Nothing to compare yet",
        "Two runs of one slide are needed, for instance one of each model type.",
    ):
        st.page_link("../../pages/viewer.py", label="Go to the viewer", icon=":material/biotech:")
    st.stop()

with st.container(horizontal=True, vertical_alignment="center", gap="small", key="toolbar"):
    slide_id = selection.select_slide(slides)
    scenes = {str(scene): scene for slide, scene in sorted(pairs) if slide == slide_id}
    scene = int(selection.chosen(selection.SCENE, list(scenes)))
    if len(scenes) > 1:
        scene = int(selection.select(selection.SCENE, "Scene", list(scenes), lambda k: f"Scene {int(k) + 1}"))
    runs = pairs[slide_id, scene]
    title = lambda k: data.run_title(runs[k])  # noqa: E731
    first = selection.select(
        "a", "First run", list(runs), title, default=compare.first_of(runs), icon=":material/looks_one:"
    )
    others = [k for k in runs if k != first]
    second = selection.select(
        "b",
        "Second run",
        others,
        title,
        default=compare.partner_of(runs[first], runs),
        icon=":material/looks_two:",
    )

compare.body(slides[slide_id], runs[first], runs[second])
