"""Charts of the pages: pure functions from plain numbers to Plotly figures, one template for all.

Every figure shows exactly the numbers it was given; hovering says them in full. Classes keep their
colour (``cmlcore.classes``) everywhere; histograms differ by dash as well, so colour is never alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cmlcore.classes import color, label
from cmlcore.explain import Heat
from cmlcore.ui.format import count, percent
from cmlcore.ui.theme import Palette, template

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
"""Lines differ by dash as well as by colour."""
_HEAT_HOVER = "x %{x:.3f} mm, y %{y:.3f} mm<br><b>%{z:,.0f} cells/mm²</b><extra></extra>"


def figure(colors: Palette, height: int, **layout: Any) -> go.Figure:
    """An empty figure on the page's template."""
    return go.Figure(layout={"template": template(colors), "height": height, **layout})


def class_bars(counts: Mapping[str, int], colors: Palette) -> go.Figure:
    """Cells by class as horizontal bars, in the order given from top to bottom, count and share beside."""
    total = sum(counts.values())
    shares = [n / total if total else 0.0 for n in counts.values()]
    fig = figure(colors, max(120, 44 * len(counts) + 50), bargap=0.35, showlegend=False)
    fig.add_bar(
        y=[label(k) for k in counts],
        x=list(counts.values()),
        orientation="h",
        marker={"color": [color(k) for k in counts], "cornerradius": 3},
        text=[f"{count(n)} · {percent(s)}" for n, s in zip(counts.values(), shares, strict=True)],
        textposition="outside",
        cliponaxis=False,
        customdata=[percent(s, 2) for s in shares],
        hovertemplate="<b>%{y}</b><br>%{x:,} cells · %{customdata}<extra></extra>",
    )
    room = 1.55 * max([1, *counts.values()])  # for the text beside the longest bar
    fig.update_xaxes(title="Cells", range=[0, room], rangemode="tozero")
    if room < 8:
        fig.update_xaxes(dtick=1)  # of whole cells
    fig.update_yaxes(
        autorange="reversed",
        ticks="",
        showgrid=False,
        tickfont={"size": 13, "color": colors.text},
        ticklabelstandoff=8,
    )
    return fig


def histogram(
    edges: Sequence[float],
    counts: Mapping[str, Sequence[int]],
    colors: Palette,
    *,
    title: str,
    unit: str = "",
    places: int = 1,
    shares: bool = False,
) -> go.Figure:
    """Distribution of one measure, one stepped line a class.

    Args:
        edges: bin edges, one more than bins.
        counts: class key to cells in each bin.
        colors: palette of the page.
        title: what is measured, with its unit, for the axis.
        unit: unit in the tooltip.
        places: decimals of the edges in the tooltip.
        shares: show each class as per cent of its own cells.

    """
    fig = figure(colors, 280, hovermode="closest")
    spans = [f"{a:.{places}f} to {b:.{places}f} {unit}".rstrip() for a, b in pairwise(edges)]
    for i, (key, bins) in enumerate(counts.items()):
        heights = [100 * n / (sum(bins) or 1) for n in bins] if shares else list(bins)
        # one point more than bins closes the last step at its right edge
        fig.add_scatter(
            x=list(edges),
            y=[*heights, *heights[-1:]],
            name=label(key),
            mode="lines",
            line={"shape": "hv", "color": color(key), "width": 2, "dash": DASHES[i % len(DASHES)]},
            fill="tozeroy",
            fillcolor=faded(color(key), 0.12),
            customdata=list(zip([*spans, *spans[-1:]], [*bins, *bins[-1:]], strict=True)),
            hovertemplate="<b>"
            + label(key)
            + "</b><br>%{customdata[0]}<br>%{customdata[1]:,} cells<extra></extra>",
        )
    fig.update_xaxes(title=title)
    fig.update_yaxes(title="Per cent of the class" if shares else "Cells", rangemode="tozero")
    return fig


def faded(hex_color: str, alpha: float) -> str:
    """A colour with some of the ground shining through."""
    r, g, b = (int(hex_color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},{alpha})"


def _scale(hue: str, colors: Palette) -> list[list[float | str]]:
    """From the surface to the class's colour and on towards the text colour, so lightness is monotone."""
    return [[0.0, colors.surface], [0.7, hue], [1.0, mixed(hue, colors.text, 0.55)]]


def mixed(a: str, b: str, share: float) -> str:
    """The colour that lies a share of the way from ``a`` to ``b``."""
    pairs = [(int(a[i : i + 2], 16), int(b[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round((1 - share) * p + share * q):02X}" for p, q in pairs)


def _heat_trace(heat: Heat) -> go.Heatmap:
    x, y = heat.centres_mm
    return go.Heatmap(
        z=heat.per_mm2, x=x, y=y, coloraxis="coloraxis", hoverongaps=False, hovertemplate=_HEAT_HOVER
    )


def _targets(heat: Heat) -> go.Scatter:
    """Invisible marks on the bins: a heatmap itself sends no click to the page."""
    x, y = heat.centres_mm
    rows, cols = np.nonzero(np.nan_to_num(heat.per_mm2) > 0)
    size = min(48, max(6, 360 // max(heat.per_mm2.shape)))  # px; about a bin at the map's first scale
    return go.Scatter(
        x=x[cols],
        y=y[rows],
        mode="markers",
        marker={"size": size, "symbol": "square", "opacity": 0},
        unselected={"marker": {"opacity": 0}},
        selected={"marker": {"opacity": 0}},
        customdata=heat.per_mm2[rows, cols],
        hovertemplate="x %{x:.3f} mm, y %{y:.3f} mm<br><b>%{customdata:,.0f} cells/mm²</b><br>"
        "Click to look there<extra></extra>",
        showlegend=False,
    )


def _color_axis(hue: str, peak: float, colors: Palette) -> dict[str, Any]:
    bar = {"title": {"text": "cells/mm²", "side": "top", "font": {"size": 12}}, "thickness": 10, "len": 0.9}
    bar["tickformat"] = ",.0f"
    return {"colorscale": _scale(hue, colors), "cmin": 0, "cmax": peak or 1, "colorbar": bar}


def position_heatmap(heat: Heat, key: str | None, colors: Palette) -> go.Figure:
    """Where the cells of one class lie (``None``: of all); bins with cells can be clicked while panning."""
    hue = color(key) if key else colors.accent
    fig = figure(
        colors,
        460,
        coloraxis=_color_axis(hue, heat.peak, colors),
        dragmode="pan",
        clickmode="event+select",
    )
    fig.add_trace(_heat_trace(heat))
    fig.add_trace(_targets(heat))
    fig.update_xaxes(title="x (mm)", range=[heat.x_mm[0], heat.x_mm[-1]], constrain="domain", showgrid=False)
    fig.update_yaxes(
        title="y (mm)",
        range=[heat.y_mm[-1], heat.y_mm[0]],
        scaleanchor="x",
        constrain="domain",
        showgrid=False,
    )
    return fig


def heatmap_pair(a: Heat, b: Heat, titles: tuple[str, str], key: str | None, colors: Palette) -> go.Figure:
    """Two density maps side by side on one colour scale, their axes locked."""
    hue = color(key) if key else colors.accent
    fig = make_subplots(1, 2, subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.04)
    fig.update_layout(
        template=template(colors),
        height=420,
        dragmode="pan",
        coloraxis=_color_axis(hue, max(a.peak, b.peak), colors),
    )
    for col, heat in enumerate((a, b), start=1):
        fig.add_trace(_heat_trace(heat), row=1, col=col)
        fig.update_xaxes(
            title="x (mm)",
            range=[heat.x_mm[0], heat.x_mm[-1]],
            constrain="domain",
            showgrid=False,
            row=1,
            col=col,
        )
    fig.update_xaxes(matches="x", row=1, col=2)
    fig.update_yaxes(
        range=[a.y_mm[-1], a.y_mm[0]],
        scaleanchor="x",
        constrain="domain",
        showgrid=False,
        title="y (mm)",
        row=1,
        col=1,
    )
    fig.update_yaxes(matches="y", showgrid=False, row=1, col=2)
    fig.update_annotations(font={"size": 13, "color": colors.muted})
    return fig


def class_pair(
    a: Mapping[str, float], b: Mapping[str, float], names: tuple[str, str], axis: str, colors: Palette
) -> go.Figure:
    """One measure by class for two runs: filled bars for the first, hatched ones for the second."""
    keys = list(dict.fromkeys([*a, *b]))
    fig = figure(colors, 300, barmode="group", bargap=0.4)
    hues = [color(k) for k in keys]
    for name, values, shape in ((names[0], a, ""), (names[1], b, "/")):
        group = {"name": name, "legendgroup": name, "offsetgroup": name}
        fig.add_bar(
            x=[label(k) for k in keys],
            y=[values.get(k, 0) for k in keys],
            showlegend=False,
            marker={"color": hues, "pattern": hatch(shape, hues), "cornerradius": 3},
            hovertemplate="<b>%{x}</b><br>" + name + ": %{y:,.4~f}<extra></extra>",
            **group,
        )
        # the legend's mark: the pattern alone, in no class's colour
        mark = {"color": colors.muted, "pattern": hatch(shape, colors.muted)}
        fig.add_bar(x=[None], y=[None], marker=mark, **group)
    fig.update_yaxes(title=axis, rangemode="tozero")
    fig.update_xaxes(showgrid=False, tickfont={"size": 13, "color": colors.text})
    return fig


def hatch(shape: str, hue: str | list[str]) -> dict[str, Any]:
    """Stripes in the bar's own colour on the page's ground; no shape: a plain bar."""
    return {"shape": shape, "size": 6, "solidity": 0.4, "fillmode": "replace", "fgcolor": hue}
