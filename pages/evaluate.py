"""Evaluate: how well a model, or a stored run, agrees with cells that people outlined and named."""

from __future__ import annotations

import streamlit as st

from cmlcore.jobs.evaluate import EVALUATIONS
from cmlcore.ui import evaluate, evaluation_pair, folder_jobs, selection, widgets
from cmlcore.ui.evaluation_view import View

jobs = {j.id: j for j in EVALUATIONS.all()}
done = [k for k, j in jobs.items() if j.state == "done"]

widgets.header("Evaluate", "Judge a model or a run against cells that people outlined and named.")
evaluate.start_form(expanded=not jobs)
for job in reversed([j for j in jobs.values() if j.active]):
    folder_jobs.live(EVALUATIONS, job.id, evaluate.subject, "images")

if not jobs:
    st.caption("Figures stand here once an evaluation is done.")
    st.stop()

with st.container(horizontal=True, vertical_alignment="center", gap="small", key="evaluations"):
    chosen = selection.select(
        evaluate.EVALUATION, "Evaluation", list(jobs), lambda k: evaluate.title(jobs[k]),
        icon=":material/rule:",
    )  # fmt: skip
    others = [evaluate.NO_PAIR, *(k for k in done if k != chosen)]
    second = evaluate.NO_PAIR
    if chosen in done and len(others) > 1:
        second = selection.select(
            evaluate.WITH, "Compared with", others,
            lambda k: evaluate.title(jobs[k]) if k in jobs else "Compare with…", icon=":material/compare:",
        )  # fmt: skip
    view = None
    with widgets.said_plainly():
        view = View(chosen, evaluate.result(chosen)) if chosen in done else None
        if view is not None:
            view.downloads()
    if not jobs[chosen].active and st.button("Delete", icon=":material/delete:"):
        folder_jobs.confirm_delete(
            EVALUATIONS, chosen, evaluate.title(jobs[chosen]),
            "Its figures go; model, run and ground truth stay.",
        )  # fmt: skip

with widgets.said_plainly():
    if jobs[chosen].active:
        st.caption("Its figures stand here once it is done; another evaluation can be chosen meanwhile.")
    elif view is None and chosen not in done:
        folder_jobs.broken_off(EVALUATIONS, jobs[chosen], "Start again")
    elif view is not None and second in done:
        pair = (chosen, second)
        evaluation_pair.body(
            view.found,
            evaluate.result(second),
            (evaluate.title(jobs[chosen]), evaluate.title(jobs[second])),
            pair,
        )
    elif view is not None:
        view.draw()
