"""Runs: everything that was asked for, how far it is, and what can be done with it."""

from __future__ import annotations

import streamlit as st

from cmlcore import store
from cmlcore.ui import run_list, widgets

widgets.header("Runs", "One run is one model applied to one slide with one set of settings.")
runs = store.list_runs()
names = {s.id: s.name for s in store.list_slides()}

if not runs:
    with widgets.empty_state(
        "checklist", "No runs yet", "Open a slide and have its cells outlined; the run appears here."
    ):
        st.page_link("../../pages/slides.py", label="Go to Slides", icon=":material/photo_library:")
    st.stop()

run_list.at_work([r for r in runs if r.status in store.ACTIVE], names)
run_list.finished([r for r in runs if r.status not in store.ACTIVE], names)
