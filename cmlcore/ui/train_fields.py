"""Widgets for the values of ``TrainSettings``: kind, bounds and help come from the settings themselves."""

from __future__ import annotations

import math
import types
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin

import streamlit as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cmlcore.training import TrainSettings
from cmlcore.training.settings import BACKBONES
from cmlcore.ui.train_view import said

COLUMNS = 3
AUGMENTATION = (
    "stain", "light", "blur", "noise", "jpeg", "scale", "close", "closest", "turn", "blank", "paste",
)  # fmt: skip
GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("Balance and optimiser", "balance",
     ("balance", "loss_balance", "weight_decay", "warmup", "clip", "ema", "frozen", "mpp", "seed")),
    ("Validation and checkpoints", "fact_check",
     ("validate_every", "validate_images", "early_stop", "save_s")),
    ("Machine", "memory", ("device", "devices", "precision", "workers", "threads")),
    ("The resulting model", "hub", ("key", "title")),
)  # fmt: skip
BY_HAND = frozenset(
    ("model", "preset", "classes", "data", "image_mpp", "limit", "epochs", "steps", "minutes", "lr", "batch")
) | {"leave_out", "tile", "augmentation", "backbone", "backbone_weights", "pretrained", "start_from"}
"""Settings with a place of their own in the form; a test holds that each setting has one."""
_NONE = {"validate_every": "every epoch", "frozen": "as usual"}


def table(base: BaseModel, names: Sequence[str], tag: str) -> dict[str, Any]:
    """A widget for each value, some in a row; switches below them, their names beside them."""
    asked: dict[str, Any] = {}
    switches = [n for n in names if _kind(type(base).model_fields[n]) is bool]
    fields = [n for n in names if n not in switches]
    for i in range(0, len(fields), COLUMNS):
        row = fields[i : i + COLUMNS]
        for column, name in zip(st.columns(COLUMNS), row, strict=False):
            with column:
                asked[name] = _widget(base, name, said(name), _NONE.get(name, ""), tag)
    for name in switches:
        asked[name] = _widget(base, name, said(name), "", tag)
    return asked


def field(base: TrainSettings, name: str, title: str, none: str) -> Any:
    """A widget for one value of the settings; ``none`` says what an empty field means."""
    return _widget(base, name, title, none, f"{base.model}-{base.preset}")


def _widget(base: BaseModel, name: str, title: str, none: str, tag: str) -> Any:
    info = type(base).model_fields[name]
    value, kind, key = getattr(base, name), _kind(info), f"train-{name}-{tag}"
    about = info.description
    if kind is bool:
        return st.toggle(title, value, key=key, help=about)
    if get_origin(kind) is Literal:
        options = list(get_args(kind))
        return st.selectbox(title, options, index=options.index(value), key=key, help=about)
    if kind is str:
        return st.text_input(title, value or "", key=key, help=about).strip()
    number = int if kind is int else float
    low, high, now = (None if x is None else number(x) for x in (*_bounds(info), value))
    if _optional(info):  # the browser empties a field only where its default is empty
        st.session_state.setdefault(key, now)
        now = None
    ask: Any = st.number_input  # its many signatures are all met: one kind of number throughout
    return ask(
        title,
        low,
        high,
        now,
        _step(info) if kind is int else _float_step(value),
        format="%d" if kind is int else "%g",
        key=key,
        help=about,
        placeholder=none or None,
    )


def _kind(info: FieldInfo) -> Any:
    """The type of a value, without the None it may be instead."""
    kind = info.annotation
    if get_origin(kind) in (Union, types.UnionType):
        return next(a for a in get_args(kind) if a is not type(None))
    return kind


def _optional(info: FieldInfo) -> bool:
    return type(None) in get_args(info.annotation)


def _bounds(info: FieldInfo) -> tuple[float | None, float | None]:
    """Least and largest value that the widget lets through; open bounds are left to the settings."""
    low = next((float(m.ge) for m in info.metadata if hasattr(m, "ge")), None)
    high = next((float(m.le) for m in info.metadata if hasattr(m, "le")), None)
    return low, high


def _step(info: FieldInfo) -> int:
    return next((int(m.multiple_of) for m in info.metadata if hasattr(m, "multiple_of")), 1)


def _float_step(value: float | None) -> float:
    """About a tenth of the value, so that a click changes it noticeably."""
    return 10.0 ** round(math.log10(abs(value) / 10)) if value else 0.05


def backbone(base: TrainSettings) -> str:
    """Name of the backbone: one of the usual ones, or any other that the network knows."""
    own = BACKBONES[base.model]
    chosen = st.selectbox(
        "Backbone", own, index=own.index(base.backbone) if base.backbone in own else 0,
        accept_new_options=True, key=f"train-backbone-{base.model}-{base.preset}",
        help="Type 2 takes any plain Vision Transformer of timm by name.",
    )  # fmt: skip
    return str(chosen or "").strip()
