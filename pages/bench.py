"""Classifier bench: backbones, ways of tuning and colour spaces compared on the same images."""

from __future__ import annotations

import streamlit as st

from cmlcore.jobs.bench import BENCHES, bench_result, shipped_benches
from cmlcore.ui import bench_form, bench_list, folder_jobs, selection, widgets
from cmlcore.ui.bench_view import View

jobs = {j.id: j for j in BENCHES.all()}
benches = {k: j for k, j in jobs.items() if j.request is None or not j.request.title}
made = [j for j in jobs.values() if j.request is not None and j.request.title and not j.active]
shipped = list(shipped_benches())

widgets.header(
    "Classifier bench",
    "Which network, tuned how far, on which colours? Single-cell classifiers compared on the same images.",
)
bench_form.start_form(expanded=not jobs and not shipped)
for job in reversed([j for j in jobs.values() if j.active]):
    folder_jobs.live(BENCHES, job.id, bench_list.subject, "")
bench_list.finished(made)

options = [*benches, *shipped]
if not options:
    st.caption("The comparison stands here once the first row is finished.")
    st.stop()

with st.container(horizontal=True, vertical_alignment="center", gap="small", key="benches"):
    key = str(
        selection.select(
            bench_form.BENCH, "Bench", options,
            lambda k: bench_list.title(benches[k]) if k in benches else bench_list.shipped_title(k),
            icon=":material/leaderboard:",
        )
    )  # fmt: skip
    chosen = benches.get(key)
    view = None
    with widgets.said_plainly():
        if bench_list.has_rows(key):
            view = View(key, bench_result(key), chosen)
            view.downloads()
    if chosen is not None and not chosen.active and st.button("Delete", icon=":material/delete:"):
        folder_jobs.confirm_delete(
            BENCHES, chosen.id, bench_list.title(chosen), "Images and classifiers made from it stay."
        )

with widgets.said_plainly():
    if chosen is not None and not chosen.active and chosen.state != "done":
        folder_jobs.broken_off(BENCHES, chosen, "Go on")
    if view is not None:
        if chosen is not None and chosen.active:
            st.caption("Rows that are finished already; the others follow.")
        view.draw()
    elif chosen is not None and chosen.active:
        st.caption("The first row stands here once it is finished.")
