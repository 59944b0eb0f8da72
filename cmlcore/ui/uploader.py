"""Upload of slides straight to the server's disk: resumable, several files, any size the settings allow."""

from __future__ import annotations

import streamlit as st

from cmlcore.settings import settings
from cmlcore.ui.viewer import LOADER
from cmlcore.web.assets import bundle_url

CHUNK_BYTES = 64 << 20

_component = st.components.v2.component("cml_uploader", js=LOADER, isolate_styles=False)


def slide_uploader(key: str) -> str | None:
    """Show the drop area with its list of running uploads.

    An upload cut short (closed tab, lost network, restarted server) continues where it stopped when the
    same file is chosen again.

    Args:
        key: widget key.

    Returns:
        The id of the slide that has just arrived, once; None in every other rerun.

    Raises:
        InputError: the browser part has not been built.

    """
    data = {
        "bundle": bundle_url("uploader"),
        "endpoint": "/uploads",
        "chunk": CHUNK_BYTES,
        "max_bytes": settings().max_upload_bytes,
    }
    result = _component(key=key, data=data, height="content", on_slide_change=lambda: None)
    slide: str | None = result.slide
    return slide
