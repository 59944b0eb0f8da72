"""Evaluate: how well a model, or a stored run, agrees with cells that people outlined and named."""

from __future__ import annotations

import streamlit as st

from cmlcore.jobs.evaluate import list_evaluations
from cmlcore.ui import evaluate, evaluation_pair, selection, widgets
from cmlcore.ui.evaluation_view import View

jobs = list_evaluations()
over = {j.id: j for j in jobs if not j.active}
done = [k for k, j in over.items() if j.state == "done"]

widgets.header("Evaluate", "Judge a model or a run against cells that people outlined and named.")
evaluate.start_form(expanded=not jobs)
for job in reversed([j for j in jobs if j.active]):
    evaluate.live(job.id)

if not over:
    if not jobs:
        st.caption("Figures stand here once an evaluation is done.")
    st.stop()

with st.container(horizontal=True, vertical_alignment="center", gap="small", key="evaluations"):
    chosen = selection.select(
        evaluate.EVALUATION, "Evaluation", list(over), lambda k: evaluate.title(over[k]),
        icon=":material/rule:",
    )  # fmt: skip
    others = [evaluate.NO_PAIR, *(k for k in done if k != chosen)]
    second = evaluate.NO_PAIR
    if chosen in done and len(others) > 1:
        second = selection.select(
            evaluate.WITH, "Compared with", others,
            lambda k: evaluate.title(over[k]) if k in over else "Compare with…", icon=":material/compare:",
        )  # fmt: skip
    view = None
    with widgets.said_plainly():
        view = View(chosen, evaluate.result(chosen)) if chosen in done else None
        if view is not None:
            view.downloads()
    if st.button("Delete", icon=":material/delete:"):
        evaluate.confirm_delete(over[chosen])

with widgets.said_plainly():
    if view is None and chosen not in done:
        evaluate.broken_off(over[chosen])
    elif view is not None and second in done:
        pair = (chosen, second)
        evaluation_pair.body(
            view.found,
            evaluate.result(second),
            (evaluate.title(over[chosen]), evaluate.title(over[second])),
            pair,
        )
    elif view is not None:
        view.draw()
