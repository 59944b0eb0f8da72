"""Models: the networks that are installed, what they know and where they end."""

from __future__ import annotations

import streamlit as st

from cmlcore.ui import model_cards, widgets
from models.registry import cards

widgets.header("Models", "Both types answer the same question in two ways; compare them on your own slides.")
model_cards.device_line()
known = cards()
if not known:
    with widgets.empty_state(
        "hub",
        "No model is installed",
        "Train one, or put a model card and its weights into the models folder and reload this page.",
    ):
        st.page_link("../../pages/train.py", label="Go to Train", icon=":material/model_training:")
asked = st.query_params.get("model")
for card in sorted(known, key=lambda c: c.key != asked):  # the one a link names comes first
    model_cards.model_card(card)
