"""Single cells: leukocytes named by a classifier, from dropped images or from a finished run."""

from __future__ import annotations

import streamlit as st

from cmlcore.jobs.classify import NAMINGS
from cmlcore.ui import cells_form, cells_view, folder_jobs, selection, widgets

jobs = {j.id: j for j in NAMINGS.all()}

widgets.header(
    "Single cells", "Name single leukocytes: drop their images, or take the leukocytes that a run found."
)
cells_form.start_form(expanded=not jobs)
for job in reversed([j for j in jobs.values() if j.active]):
    folder_jobs.live(NAMINGS, job.id, cells_form.subject, "cells")

if not jobs:
    st.caption("The cells stand here once they are named.")
    st.stop()

with st.container(horizontal=True, vertical_alignment="center", gap="small", key="namings"):
    key = selection.select(
        cells_form.NAMING,
        "Cells",
        list(jobs),
        lambda k: cells_form.title(jobs[k]),
        icon=":material/grid_view:",
    )
    chosen = jobs[str(key)]
    if chosen.state == "done":
        cells_view.downloads(chosen)
    if not chosen.active and st.button("Delete", icon=":material/delete:"):
        folder_jobs.confirm_delete(
            NAMINGS, chosen.id, cells_form.title(chosen), "The images and names go; slide and run stay."
        )

with widgets.said_plainly():
    if chosen.active:
        st.caption("Its cells stand here once it is done; other ones can be chosen meanwhile.")
    elif chosen.state == "done":
        cells_view.body(chosen)
    else:
        folder_jobs.broken_off(NAMINGS, chosen, "Start again")
