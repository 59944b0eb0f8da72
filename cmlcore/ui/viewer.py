"""The deep-zoom viewer: a slide's pixels, the outlined cells on top, regions drawn by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

from cmlcore.web.assets import bundle_url

Polygon = list[list[float]]
"""Vertices ``[x, y]`` in level-0 pixels of the scene; the first is not repeated."""

AT = "at"
"""Query parameter that holds the viewer's position; the browser keeps it current without a rerun."""

LOADER = """
export default async function (component) {
  const bundle = await import(new URL(component.data.bundle, location.origin).href);
  return bundle.default(component);
}
"""

_component = st.components.v2.component("cml_viewer", js=LOADER, isolate_styles=False)


@dataclass(frozen=True, slots=True)
class ViewerState:
    """What the person did in the viewer.

    ``cell`` is the id of the cell last clicked (None: none, or the selection was cleared). ``rois`` are the
    drawn regions, None until something was drawn or removed. ``position`` is ``(x_l0, y_l0, zoom)``: the
    centre in level-0 pixels and the zoom in screen pixels per level-0 pixel, as the URL has it.
    """

    cell: int | None
    rois: list[Polygon] | None
    position: tuple[float, float, float] | None


def slide_viewer(
    slide_id: str,
    scene: int,
    *,
    run_id: str | None = None,
    key: str,
    height: int = 640,
    draw: Literal["rectangle", "polygon"] | None = None,
    rois: Sequence[Polygon] | None = None,
    filters: dict[str, Any] | None = None,
    position: tuple[float, float, float] | None = None,
    group: str | None = None,
    title: str = "",
    card: bool = True,
    mpp: float | None = None,
) -> ViewerState:
    """Show one scene of a slide.

    Call it inside an ``st.fragment``: a click on a cell then reruns that fragment only.

    Args:
        slide_id: id of the slide.
        scene: index of the scene.
        run_id: run whose cells are drawn on top; None: the slide alone.
        key: widget key; keep it the same over reruns and the viewer keeps its zoom.
        height: of the viewer in CSS pixels.
        draw: shape that can be drawn; None hides the drawing tools.
        rois: regions to show. Once a person draws, the browser holds the truth, until this value changes.
        filters: ``{"classes": [keys] | None, "min_score": 0..1}`` for the cells. The person can change
            them in the viewer; a changed value here resets that.
        position: where to look first; None: where the URL says, else the whole scene.
        group: viewers of one page with the same group pan and zoom together.
        title: a line shown in the viewer's corner, for instance the model's name.
        card: show a clicked cell's facts beside it; False where the page has a panel for them.
        mpp: µm per pixel, where the page can change it while the slide is open.

    Returns:
        The state of the viewer.

    Raises:
        InputError: the browser part has not been built.

    """
    data = {
        "bundle": bundle_url("viewer"),
        "slide": f"/slides/{slide_id}/{scene}.json",
        "overlay": f"/overlay/{run_id}/" if run_id else None,
        "cells": f"/cells/{run_id}/" if run_id else None,
        "draw": draw,
        "rois": [] if rois is None else [[list(p) for p in roi] for roi in rois],
        "filters": filters,
        "position": position,
        "group": group,
        "title": title,
        "card": card,
        "mpp": mpp,
        "height": height,
        "url": AT,
        "name": key,
    }
    result = _component(
        key=key,
        data=data,
        default={"cell": None, "rois": None},
        height=height,
        on_cell_change=_noted,
        on_rois_change=_noted,
    )
    return ViewerState(cell=result.cell, rois=result.rois, position=url_position())


def url_position() -> tuple[float, float, float] | None:
    """The position in the page's URL, None where there is none or it is not one."""
    parts = st.query_params.get(AT, "").split(",")
    try:
        x, y, zoom = (float(p) for p in parts)
    except ValueError:
        return None
    return x, y, zoom


def around(rois: Sequence[Polygon] | None, width: int, height: int) -> tuple[float, float, float] | None:
    """The position that shows all regions in a viewer of about this size in CSS px.

    None where the URL has a position or there is no region: the viewer then begins as it would.
    """
    if not rois or url_position() is not None:
        return None
    points = [p for roi in rois for p in roi]
    x0, y0, x1, y1 = (pick(p[i] for p in points) for pick in (min, max) for i in (0, 1))
    zoom = 0.9 * min(width / max(1.0, x1 - x0), height / max(1.0, y1 - y0))
    return (x0 + x1) / 2, (y0 + y1) / 2, min(1.0, zoom)


def _noted() -> None:
    """Streamlit names a component's state only after a callback for it; the value itself is in the result."""
