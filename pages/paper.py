"""Paper comparison: both types on both tasks, loss and mAP side by side, from stored trainings."""

from __future__ import annotations

import streamlit as st

from cmlcore.ui import paper, widgets

known = paper.known_trainings()
widgets.header(
    "Paper comparison",
    "Mask R-CNN and Vision Transformer on two tasks: (A) loss and (B) mAP, from stored trainings.",
)
if not any(known.values()):
    with widgets.empty_state(
        "article",
        "Nothing to compare yet",
        "Train both types with the presets “erythrocyte-leukocyte” and “three-class”, or let the shell do "
        "it: cmlscope paper train. The three classes are phantoms: drawn cells, as no public photographs "
        "exist.",
    ):
        st.page_link("../../pages/train.py", label="Go to Train", icon=":material/model_training:")
    st.stop()

with st.container(key="paper-choice"):
    chosen = paper.choose(known)
if not chosen:
    st.info("Choose a training for at least one of the four places.", icon=":material/info:")
    st.stop()
with st.container(horizontal=True, gap="small"):
    paper.downloads(chosen)
paper.figures(chosen)
paper.tables(chosen)
