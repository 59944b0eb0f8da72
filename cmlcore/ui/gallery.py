"""Browser parts for single cells: the drop area of their pictures, and the gallery of named ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from cmlcore.ui.viewer import LOADER
from cmlcore.web.assets import bundle_url

STRIP = 24
"""Thumbnails of dropped pictures that are shown before anything is named."""

_pictures = st.components.v2.component("cml_pictures", js=LOADER, isolate_styles=False)
_gallery = st.components.v2.component("cml_gallery", js=LOADER, isolate_styles=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures that have arrived on the server."""

    id: str
    files: int


def pictures_drop(key: str, round_: int) -> Batch | None:
    """Show the drop area; another ``round_`` empties it.

    Raises:
        InputError: the browser part has not been built.

    """
    data = {"bundle": bundle_url("pictures"), "round": round_, "shown": STRIP}
    result = _pictures(key=key, data=data, height="content", on_batch_change=lambda: None)
    return batch_of(result.batch)


def batch_of(raw: Any) -> Batch | None:
    """What the browser says has arrived; None of anything else."""
    try:
        return Batch(str(raw["id"]), int(raw["files"]))
    except (KeyError, TypeError, ValueError):
        return None


def gallery(cells: list[dict[str, Any]], key: str) -> int | None:
    """Show cells; the row of the one just clicked, once.

    Args:
        cells: see ``cell_answers.Answers.shown``.
        key: widget key.

    Raises:
        InputError: the browser part has not been built.

    """
    data = {"bundle": bundle_url("gallery"), "cells": cells}
    result = _gallery(key=key, data=data, height="content", on_picked_change=lambda: None)
    return int(result.picked) if isinstance(result.picked, int | float) else None
