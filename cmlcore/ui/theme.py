"""Colours, the little CSS that config.toml cannot say, and the Plotly templates: light and dark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
import streamlit as st

PICTURE_HEIGHT = 640
"""Height of the viewer in px: the largest that keeps its toolbar on a 900 px screen."""


@dataclass(frozen=True, slots=True)
class Palette:
    """The few colours a chart or a drawn part needs; the same values stand in config.toml."""

    dark: bool
    background: str
    surface: str
    text: str
    muted: str
    line: str
    accent: str


LIGHT = Palette(False, "#FFFFFF", "#F3F6F8", "#1A2730", "#5C6B75", "#D9E0E5", "#1F5F73")
DARK = Palette(True, "#12181D", "#1B242B", "#E1E8EC", "#9AA8B1", "#2E3A43", "#6DB7C9")


def palette() -> Palette:
    """The palette of the theme the browser shows."""
    return DARK if st.context.theme.type == "dark" else LIGHT


_ROOM = {"text": "\u00a0", "side": "top", "font": {"size": 14}}
"""A blank line over the legend: there the buttons of the chart stand, which else hide its first entries."""


def below_buttons(title: str) -> str:
    """Title of an axis on top, under blank lines where the buttons of the chart stand."""
    return f"\u00a0<br>\u00a0<br>{title}"


def template(colors: Palette) -> go.layout.Template:
    """Plotly template: transparent ground, quiet grid, the page's font, tooltips in surface colour."""
    axis = {
        "gridcolor": colors.line,
        "linecolor": colors.line,
        "tickcolor": colors.line,
        "zerolinecolor": colors.line,
        "tickfont": {"color": colors.muted, "size": 12},
        "title": {"font": {"color": colors.muted, "size": 12}, "standoff": 8},
        "automargin": True,
        "separatethousands": True,
    }
    layout = {
        "font": {"family": '"Source Sans", sans-serif', "size": 13, "color": colors.text},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 28, "b": 8},
        "separators": ".\u202f",
        "xaxis": axis,
        "yaxis": axis,
        "hoverlabel": {
            "bgcolor": colors.surface,
            "bordercolor": colors.line,
            "font": {"color": colors.text, "size": 13},
        },
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "title": _ROOM},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": colors.muted, "activecolor": colors.accent},
        "coloraxis": {"colorbar": {"outlinewidth": 0, "thickness": 10, "tickfont": {"color": colors.muted}}},
    }
    return go.layout.Template(layout=layout)


PLOT_CONFIG = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"],
    "toImageButtonOptions": {"format": "png", "scale": 2},
    "responsive": True,
}

MAP_CONFIG = {**PLOT_CONFIG, "modeBarButtonsToRemove": ["autoScale2d"], "displayModeBar": True}

_STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


_FOLLOW = """
let told, watch; // one per page: the theme is the app's
export default function (component) {
  told = component;
  const app = document.querySelector(".stApp");
  if (!watch && app) {
    watch = new MutationObserver(() => {
      const [r, g, b] = getComputedStyle(app).backgroundColor.match(/[0-9.]+/g).map(Number);
      const dark = r + g + b < 384;
      if (dark !== told.data.dark) told.setTriggerValue("changed", dark);
    });
    watch.observe(app, { attributes: true, attributeFilter: ["class", "style"] });
  }
  return () => { watch?.disconnect(); watch = undefined; };
}
"""

_follow = st.components.v2.component("cml_theme", js=_FOLLOW, isolate_styles=False)


def follow(colors: Palette) -> None:
    """Draw the page anew when the browser turns dark or light: Streamlit leaves charts as they were."""
    with st.container(key="theme"):
        _follow(key="theme-shown", data={"dark": colors.dark}, on_changed_change=lambda: None)


def css(colors: Palette) -> str:
    """Style sheet of the pages; colours come in as custom properties."""
    values = {
        "bg": colors.background,
        "surface": colors.surface,
        "text": colors.text,
        "muted": colors.muted,
        "line": colors.line,
        "accent": colors.accent,
    }
    root = "".join(f"--cmlp-{name}: {value};" for name, value in values.items())
    return f"<style>:root {{{root}}}\n{_STYLE}</style>"


def mark(colors: Palette) -> str:
    """The product's mark as SVG: a nucleus in its cell under a reticle."""
    size = 'viewBox="0 0 28 28" width="28" height="28"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{_ring(colors)}</svg>'


def logo(colors: Palette) -> str:
    """The mark and the name as SVG."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 132 28" width="132" height="28">'
        f'{_ring(colors)}<text x="34" y="19.5" font-family="Source Sans, Helvetica, Arial, sans-serif" '
        f'font-size="17" font-weight="600" fill="{colors.text}">CMLscope</text></svg>'
    )


def _ring(colors: Palette) -> str:
    return (
        f'<g fill="none" stroke="{colors.accent}" stroke-width="2">'
        '<circle cx="14" cy="14" r="10"/><path d="M14 1v5M14 22v5M1 14h5M22 14h5"/></g>'
        f'<circle cx="15.5" cy="12.5" r="4" fill="{colors.accent}"/>'
    )
