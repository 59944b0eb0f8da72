"""Entry script: page frame, navigation, sidebar. It must not lie beside a ``pages`` folder.

Streamlit decides from a sibling ``pages/`` whether the app is of the old multi-page kind, and would then
run a deep-linked page without this script. Worker processes import ``__main__`` again, hence the guard.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from cmlcore.jobs import device_report
from cmlcore.ui import data, theme, widgets

PAGES = Path(__file__).resolve().parents[2] / "pages"


def main() -> None:
    """Draw the frame and run the page that the URL names."""
    st.set_page_config(
        "CMLscope", page_icon=theme.mark(theme.LIGHT), layout="wide", initial_sidebar_state="expanded"
    )
    colors = theme.palette()
    st.html(theme.css(colors))
    st.logo(theme.logo(colors), size="large")
    page = st.navigation(
        {
            "Work": [
                _page("slides", "Slides", "photo_library", default=True),
                _page("viewer", "Viewer", "biotech"),
                _page("runs", "Runs", "checklist"),
                _page("cells", "Single cells", "grid_view"),
            ],
            "Read": [
                _page("results", "Results", "bar_chart"),
                _page("compare", "Compare", "compare"),
            ],
            "Learn": [
                _page("train", "Train", "model_training"),
                _page("evaluate", "Evaluate", "rule"),
                _page("bench", "Classifier bench", "leaderboard"),
                _page("paper", "Paper comparison", "article"),
            ],
            "Know": [
                _page("models", "Models", "hub"),
                _page("about", "About", "info"),
            ],
        }
    )
    with st.sidebar:
        _device()
    theme.follow(colors)
    widgets.research_line()
    page.run()


def _page(name: str, title: str, icon: str, *, default: bool = False) -> st.Page:
    return st.Page(
        PAGES / f"{name}.py", title=title, icon=f":material/{icon}:", url_path=name, default=default
    )


def _device() -> None:
    report = device_report()
    with st.container(key="device", gap="xxsmall"):
        if report.kind == "unknown":
            st.caption(":material/memory: Device not asked yet")
            return
        st.caption(f":material/memory: {report.name}")
        if report.mm2_per_s is not None:
            model = data.model_name(report.model)
            st.caption(f":material/speed: {widgets.speed(report.mm2_per_s)} · {model}")


if __name__ == "__main__":
    main()
