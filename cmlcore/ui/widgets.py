"""Small parts that every page shares: header, empty state, facts, class chips, status, research line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, Literal
from urllib.parse import urlencode

import streamlit as st

from cmlcore import RESEARCH_USE
from cmlcore.classes import color, label
from cmlcore.errors import CmlError
from cmlcore.ui import format as fmt

Tone = Literal["gray", "blue", "green", "orange", "red"]

_STATUS: dict[str, tuple[str, str, Tone]] = {
    "checking": ("Checking", ":material/hourglass_top:", "gray"),
    "converting": ("Preparing tiles", ":material/hourglass_top:", "blue"),
    "ready": ("Ready", ":material/check:", "green"),
    "refused": ("Refused", ":material/block:", "red"),
    "deleting": ("Deleting", ":material/delete:", "gray"),
    "queued": ("Queued", ":material/schedule:", "gray"),
    "waiting": ("Waiting", ":material/schedule:", "gray"),
    "running": ("Running", ":material/play_arrow:", "blue"),
    "done": ("Done", ":material/check:", "green"),
    "failed": ("Failed", ":material/error:", "red"),
    "cancelled": ("Cancelled", ":material/cancel:", "orange"),
}


def status_text(status: str) -> str:
    """Status as people read it."""
    return _STATUS[status][0]


def status_badge(status: str) -> None:
    """Status of a slide or run: word, icon and colour say the same."""
    text, icon, tone = _STATUS[status]
    st.badge(text, icon=icon, color=tone)


def plain(text: str) -> str:
    """A user's text as Markdown shows it letter by letter."""
    return "".join("\\" + c if c in "\\`*_{}[]()<>#+-.!|~$:" else c for c in text)


def header(title: str, about: str = "") -> None:
    """Title of a page with one quiet line about what it is for."""
    st.title(title, anchor=False)
    if about:
        st.caption(about)


def research_line() -> None:
    """The line that stands at the foot of every page."""
    with st.container(key="research_use"):
        st.caption(RESEARCH_USE)


@contextmanager
def empty_state(icon: str, title: str, text: str) -> Iterator[None]:
    """Say that nothing is here and what to do; the block's own widgets (the next step) stand below."""
    st.space("large")
    with st.container(horizontal_alignment="center", gap="small"):
        st.markdown(f"## :gray[:material/{icon}:]", text_alignment="center", anchors=False)
        st.markdown(f"### {title}", text_alignment="center", anchors=False)
        st.caption(text, text_alignment="center", width=520)
        yield


def pair(key: str, widths: Sequence[float] = (1, 1), gap: Literal["medium", "large"] = "large") -> Any:
    """Two columns that stand one below the other where the window is too narrow for what they hold."""
    with st.container(key=f"stack-{key}"):
        return st.columns(widths, gap=gap)


def facts(pairs: Mapping[str, str]) -> None:
    """Names and values in two columns; values are plain text."""
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in pairs.items())
    st.html(f'<dl class="cmlp-facts">{rows}</dl>')


def chip(key: str, note: str = "") -> str:
    """HTML of a class: its colour and its name."""
    dot = f'<i style="background:{color(key)}"></i>'
    return f'<span class="cmlp-chip">{dot}{escape(label(key))}{escape(note)}</span>'


def link(text: str, page: str, query: Mapping[str, str]) -> str:
    """HTML of a text that leads to another page.

    Args:
        text: HTML made by this package.
        page: name of the page in the URL.
        query: of the URL.

    """
    return f'<a class="cmlp-link" href="{escape(f"{page}?{urlencode(query)}")}" target="_self">{text}</a>'


def class_chips(keys: Iterable[str]) -> None:
    """Legend of the classes in one line."""
    st.html("".join(chip(k) for k in keys))


def speed(mm2_per_s: float | None) -> str:
    """Speed of segmentation."""
    return fmt.NONE if mm2_per_s is None else f"{fmt.significant(mm2_per_s)}\u202fmm²/s"


def text(value: str) -> str:
    """Plain text as HTML."""
    return escape(value)


@contextmanager
def said_plainly() -> Iterator[None]:
    """Show an error of the ladder as the sentence it is; anything else is a bug and goes on up."""
    try:
        yield
    except CmlError as e:
        st.error(str(e), icon=":material/error:")


def confirm_deletion(
    text: str, kept: str, key: str, delete: Callable[[], None], then: Callable[[], None]
) -> None:
    """Inside of a dialog that asks before something goes.

    Args:
        text: what goes, markdown.
        kept: what stays.
        key: of the button.
        delete: does it; an error of the ladder is shown and the dialog stays.
        then: draws the page anew.

    """
    st.markdown(text)
    st.caption(f"{kept} This cannot be undone.")
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Keep"):
            st.rerun()
        if st.button("Delete", type="primary", icon=":material/delete:", key=key):
            with said_plainly():
                delete()
                then()


def action_table(
    rows: list[dict[str, object]],
    key: str,
    columns: Mapping[str, Any],
    hint: str,
    act: Callable[[int], None],
) -> None:
    """Table in which one row may be chosen; ``act`` draws its actions above, else ``hint`` stands there."""
    actions = st.container(horizontal=True, vertical_alignment="center", height=48, border=False)
    chosen = st.dataframe(
        rows,
        key=key,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        column_config=dict(columns),
    )
    picked = [i for i in chosen.selection.rows if i < len(rows)]
    with actions:
        if picked:
            act(picked[0])
        else:
            st.caption(hint)


def table_html(
    head: list[str], rows: list[list[str]], *, groups: list[tuple[str, int]] | None = None, total: bool = True
) -> str:
    """HTML table: the first column holds names, the others numbers.

    Args:
        head: column titles, plain text.
        rows: cells as HTML made by this package, never a user's text.
        groups: titles over several columns each, with how many.
        total: whether the last row sums up the others.

    """
    over = ""
    if groups:
        over = (
            "<tr>"
            + "".join(f'<th colspan="{n}" scope="colgroup">{escape(g)}</th>' for g, n in groups)
            + "</tr>"
        )
    titles = "".join(f'<th scope="col">{escape(t)}</th>' for t in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{c}</td>" for c in row[1:]) + "</tr>"
        for row in rows
    )
    kind = "cmlp-table cmlp-total" if total else "cmlp-table"
    return f'<table class="{kind}"><thead>{over}<tr>{titles}</tr></thead><tbody>{body}</tbody></table>'
