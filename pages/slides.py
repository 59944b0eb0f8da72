"""Slides: everything that has come in, and the ways in."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from cmlcore import store
from cmlcore.ui import intake, slide_cards, widgets

slides = store.list_slides()
widgets.header("Slides", "Open a slide to look at it and have its cells outlined.")

if not slides:
    with widgets.empty_state(
        "photo_library", "No slides yet", "Upload a slide, or begin with the demo slide."
    ):
        intake.demo_button()

intake.add_slides(expanded=not slides)

if slides:
    runs = Counter(r.slide_id for r in store.list_runs())
    with st.grid(min_column_width=260):
        for slide in slides:
            slide_cards.slide_card(slide, runs[slide.id])
