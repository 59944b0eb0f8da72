"""Which slide, scene and run a page shows: in the URL, so that a link or a reload finds the same view again.

The URL is the truth; the session only remembers the last choice, so that going to another page through the
sidebar (which drops the query) keeps the slide. Position in the viewer (``at``) is the browser's business.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from cmlcore.errors import InputError
from cmlcore.store import Slide, get_run

SLIDE, SCENE, RUN, AT, CLS = "slide", "scene", "run", "at", "cls"
NO_RUN = "none"
_BELOW = {
    SLIDE: (SCENE, RUN, "a", "b", AT, CLS),
    SCENE: (RUN, "a", "b", AT, CLS),
    RUN: (CLS,),
    "evaluation": ("with",),
}
"""What a change of one choice makes void."""


def complete() -> None:
    """Where the URL names a run alone, add the slide and scene it is of."""
    run_id = st.query_params.get(RUN)
    if run_id and SLIDE not in st.query_params:
        with contextlib.suppress(InputError):  # a run that is gone: the page falls back to what there is
            run = get_run(run_id)
            st.query_params.update({SLIDE: run.slide_id, SCENE: str(run.scene)})


def chosen(name: str, options: Sequence[str], default: str | None = None) -> str | None:
    """The id the URL names, else the one last used, else ``default``, else the first; None of nothing."""
    if not options:
        st.query_params.pop(name, None)
        return None
    fallback = default if default in options else options[0]
    asked = (st.query_params.get(name), st.session_state.get(_memory(name)), fallback)
    value = str(next(v for v in asked if v in options))
    _keep(name, value)
    return value


def choose(name: str, value: str) -> None:
    """Set a choice and forget what hung on the old one."""
    if st.query_params.get(name) != value:
        for below in _BELOW.get(name, ()):
            st.query_params.pop(below, None)
            st.session_state.pop(_memory(below), None)
    _keep(name, value)


def select(
    name: str,
    label: str,
    options: Sequence[str],
    text: Callable[[str], str],
    *,
    default: str | None = None,
    icon: str | None = None,
    label_visibility: str = "collapsed",
) -> str | None:
    """A select box bound to the URL's parameter ``name``."""
    value = chosen(name, options, default)
    key = f"select-{name}"
    labels = distinct({k: text(k) for k in options})
    if value is not None:
        st.session_state[key] = value  # the URL leads; the widget follows
    return st.selectbox(
        label,
        options,
        format_func=labels.__getitem__,
        key=key,
        icon=icon,
        label_visibility="visible" if label_visibility == "visible" else "collapsed",
        on_change=_follow,
        args=(name, key, options),
        placeholder="Nothing to choose yet",
    )


def _follow(name: str, key: str, options: Sequence[str]) -> None:
    """A choice made in the widget; what is none is the old label of an option that has a new one."""
    if st.session_state[key] in options:
        choose(name, st.session_state[key])


def select_slide(slides: Mapping[str, Slide]) -> str:
    """A select box of the slides by name; there is at least one."""
    return str(
        select(SLIDE, "Slide", list(slides), lambda k: slides[k].name, icon=":material/photo_library:")
    )


def distinct(labels: dict[str, str]) -> dict[str, str]:
    """The labels by id; one that occurs twice gets its id behind: the browser sends back the label alone."""
    times = Counter(labels.values())
    return {k: v if times[v] == 1 else f"{v} · {k}" for k, v in labels.items()}


def _memory(name: str) -> str:
    return f"last-{name}"


def _keep(name: str, value: str) -> None:
    if st.query_params.get(name) != value:
        st.query_params[name] = value
    st.session_state[_memory(name)] = value
