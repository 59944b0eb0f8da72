"""Train: trainings asked for, at work and done; a form for a new one."""

from __future__ import annotations

import streamlit as st

from cmlcore import jobs, store
from cmlcore.errors import InputError
from cmlcore.ui import train_form, train_list, train_view, widgets

asked = st.query_params.get(train_view.TRAINING)
rows = jobs.all_trainings()

if asked == train_view.NEW:
    train_form.form()
    st.stop()

if asked is not None:
    try:
        row = jobs.find_training(asked)
    except InputError as e:
        st.warning(str(e), icon=":material/warning:")
    else:
        train_view.view(row)
        st.stop()

with st.container(horizontal=True, vertical_alignment="bottom", key="toolbar"):
    with st.container():
        widgets.header(
            "Train", "A network learns from labelled images. The curves are live; a reload changes nothing."
        )
    if rows and st.button("New training", type="primary", icon=":material/add:", key="new"):
        train_view.go(train_view.NEW)

if not rows:
    with widgets.empty_state(
        "model_training",
        "No trainings yet",
        "Choose labelled images and a recipe, and watch the network learn.",
    ):
        if st.button("New training", type="primary", icon=":material/add:", key="new"):
            train_view.go(train_view.NEW)
    st.stop()

busy = [r for r in rows if r.status in store.ACTIVE]
for row in reversed(busy):
    train_list.at_work(row)
if busy:
    st.caption(f":material/memory: {train_view.SHARED}")
train_list.finished([r for r in rows if r.status not in store.ACTIVE])
