"""Two runs of one slide next to each other, locked in pan and zoom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from cmlcore.ui.viewer import Polygon, ViewerState, slide_viewer


def side_by_side(
    slide_id: str,
    scene: int,
    runs: tuple[str, str],
    *,
    key: str,
    titles: tuple[str, str] = ("", ""),
    height: int = 560,
    rois: Sequence[Polygon] | None = None,
    filters: dict[str, Any] | None = None,
    position: tuple[float, float, float] | None = None,
) -> tuple[ViewerState, ViewerState]:
    """Show two viewers that move together; the lock lives in the browser and costs no rerun.

    Args:
        slide_id: id of the slide both runs are of.
        scene: index of the scene.
        runs: ids of the left and the right run.
        key: widget key; the viewers get ``{key}-left`` and ``{key}-right``.
        titles: line shown in the corner of each viewer.
        height: of both in CSS pixels.
        rois: regions to show in both.
        filters: as for ``slide_viewer``, for both.
        position: as for ``slide_viewer``, for both.

    Returns:
        The states of the left and the right viewer.

    """
    columns = st.columns(2, gap="small")
    states = []
    for column, run, title, side in zip(columns, runs, titles, ("left", "right"), strict=True):
        with column:
            states.append(
                slide_viewer(
                    slide_id,
                    scene,
                    run_id=run,
                    key=f"{key}-{side}",
                    height=height,
                    rois=rois,
                    filters=filters,
                    position=position,
                    group=key,
                    title=title,
                )
            )
    return states[0], states[1]
