"""The form for a new training: network and recipe, images, length, and every other value in folded parts."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cmlcore.classes import CLASSES, label
from cmlcore.jobs import submit_training
from cmlcore.jobs.data_report import data_report, found_sets
from cmlcore.jobs.data_roots import data_roots, short_names
from cmlcore.training import TrainSettings, from_preset
from cmlcore.training.presets import TITLES
from cmlcore.training.settings import checked
from cmlcore.ui import train_fields as fields
from cmlcore.ui import widgets
from cmlcore.ui.model_cards import KINDS
from cmlcore.ui.train_data import class_table
from cmlcore.ui.train_view import SHARED, go, leave
from models.registry import cards

FREE = "free"
OWN_LENGTH = {"minutes": 60.0}
"""Where no preset says how long."""


def form() -> None:
    """Ask for a training; a wrong value is answered by one sentence."""
    with st.container(horizontal=True, vertical_alignment="center", key="toolbar"):
        if st.button("All trainings", icon=":material/arrow_back:", key="back"):
            leave()
        st.subheader("New training", anchor=False, width="content")
    base = _recipe()
    asked: dict[str, Any] = {"model": base.model, "preset": base.preset}
    learns, how = st.columns(2, gap="large")
    with learns:
        images = _data(base)
    with how:
        asked |= _course(base)
        asked |= _more(base)
    _statistics(images)
    asked |= images
    name = st.text_input(
        "Name", TITLES.get(base.preset or "", "Free recipe").partition(" (")[0],
        max_chars=200, key=f"train-name-{_tag(base)}",
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        pressed = st.button("Start training", type="primary", icon=":material/play_arrow:", key="start")
        st.caption(f":material/memory: {SHARED}")
    if pressed:
        with widgets.said_plainly():
            go(submit_training(name, asked))


def _recipe() -> TrainSettings:
    """Network and preset; all other values follow them until they are changed."""
    left, right = st.columns(2, gap="large")
    with left:
        model = st.segmented_control(
            "Network", list(KINDS), default="type2", required=True, key="train-model", width="stretch",
            format_func=lambda k: f"Type {k[-1]}: {KINDS[k]}",
        )  # fmt: skip
    with right:
        preset = st.selectbox(
            "Recipe", [*TITLES, FREE], key="train-preset",
            format_func=lambda k: TITLES.get(k, "Free: the network’s own values"),
            help="A recipe fills the form; every value can be changed.",
        )  # fmt: skip
    made = from_preset(None if preset == FREE else preset, "type1" if model == "type1" else "type2")
    if made.epochs is None and made.steps is None and made.minutes is None:
        made = made.model_copy(update=OWN_LENGTH)
    return made


def _tag(base: TrainSettings) -> str:
    return f"{base.model}-{base.preset}"


def _data(base: TrainSettings) -> dict[str, Any]:
    st.subheader("What it learns from", anchor=False)
    sets = found_sets()
    names = short_names(list(sets))
    picked = st.multiselect(
        "Sets of labelled images", list(sets), key="train-sets",
        format_func=lambda p: f"{names[p]} ({sets[p]})",
        placeholder="Choose one or several" if sets else "None found",
    )  # fmt: skip
    roots = data_roots()
    typed = st.text_input(
        "Or a folder on the server", key="train-folder",
        placeholder=str(roots[0] / "my-set") if roots else "",
        help="COCO, QuPath GeoJSON beside images, YOLO boxes, mask folders. It must lie below CML_DATA or an "
        "import folder.",
    ).strip()  # fmt: skip
    if not roots:
        st.caption(
            ":material/folder_off: No folder may be read yet; set CML_DATA to the folder of your sets."
        )
    classes = st.multiselect(
        "Classes", _class_options(base), default=list(base.classes), format_func=label,
        accept_new_options=True, key=f"train-classes-{_tag(base)}",
        help="A cell of a finer class counts as the nearest class chosen here.",
    )  # fmt: skip
    image_mpp, limit = st.columns(2)
    with image_mpp:
        mpp = fields.field(base, "image_mpp", "µm per pixel of images", "from the files")
    with limit:
        most = fields.field(base, "limit", "Images at most", "all")
    data = [*picked, *([typed] if typed else [])]
    left_out = st.multiselect(
        "Sources left out", _sources(data), accept_new_options=True, placeholder="None",
        key="train-leave-out",
        help="Microscopes or sets of which no image is used. Judged on them afterwards, the network shows "
        "how it does where it has never been. Counting the cells lists the sources.",
    )  # fmt: skip
    keys = tuple(c.strip().lower().replace(" ", "_") for c in classes)
    return {
        "data": data,
        "classes": keys,
        "image_mpp": mpp,
        "leave_out": tuple(left_out),
        "limit": most,
    }


def _sources(data: list[str]) -> list[str]:
    """The sources of these images, once they have been counted."""
    question, facts = st.session_state.get("train-counted", ({}, {}))
    if question.get("data") != data:
        return []
    return sorted({source for row in facts["rows"] for source in row["sources"]})


def _class_options(base: TrainSettings) -> list[str]:
    return [*dict.fromkeys([*base.classes, *(k for k in CLASSES if k != "unidentified")])]


def _statistics(asked: dict[str, Any]) -> None:
    """The class table, counted when asked for and kept until the question changes."""
    if st.button("Count the cells", icon=":material/table_chart:", key="count", disabled=not asked["data"]):
        with widgets.said_plainly(), st.spinner("Counting"):
            st.session_state["train-counted"] = (asked, data_report(checked(asked)))
            st.rerun()  # the sources found are offered above
    question, facts = st.session_state.get("train-counted", (None, {}))
    if question == asked:
        class_table(facts)
    else:
        st.caption("Counting shows what each class has, in all and used, before the training begins.")


def _course(base: TrainSettings) -> dict[str, Any]:
    st.subheader("How it learns", anchor=False)
    asked: dict[str, Any] = {}
    for row in (
        (
            ("epochs", "Epochs", "no limit"),
            ("steps", "Steps", "no limit"),
            ("minutes", "Minutes", "no limit"),
        ),
        (
            ("lr", "Learning rate", ""),
            ("batch", "Tiles a step", ""),
            ("tile", "Side of a tile (px)", "mixed"),
        ),
    ):
        for column, (name, title, none) in zip(st.columns(3), row, strict=True):
            with column:
                asked[name] = fields.field(base, name, title, none)
    st.caption("Of epochs, steps and minutes, the first that is spent ends the training.")
    return asked


def _more(base: TrainSettings) -> dict[str, Any]:
    """Everything else, folded away."""
    asked: dict[str, Any] = {}
    with st.expander("Start and backbone", icon=":material/account_tree:"):
        asked |= _start(base)
    with st.expander("Augmentation", icon=":material/auto_fix_high:"):
        asked["augmentation"] = fields.table(base.augmentation, fields.AUGMENTATION, _tag(base))
    for title, icon, names in fields.GROUPS:
        with st.expander(title, icon=f":material/{icon}:"):
            asked |= fields.table(base, names, _tag(base))
    return asked


def _start(base: TrainSettings) -> dict[str, Any]:
    """Where the weights come from before the first step; from an installed model where there is one."""
    own = {c.key: c.title for c in cards() if c.kind == base.model and c.weights.is_file()}
    installed, fresh, file, hub = (
        "From an installed model",
        "From scratch",
        "From a weight file of the backbone",
        "From the backbone’s public weights (needs a network)",
    )
    ways = [*([installed] if own else []), fresh, file, hub]
    how = st.radio("Start", ways, key=f"train-start-{base.model}")
    if how == installed:
        key = st.selectbox("Model", list(own), format_func=own.__getitem__, key=f"train-from-{base.model}")
        st.caption("It keeps its backbone. A class it does not know starts as the nearest one it knows.")
        return {"start_from": key}
    asked: dict[str, Any] = {"backbone": fields.backbone(base), "pretrained": how == hub}
    if how == file:
        asked["backbone_weights"] = st.text_input(
            "Weight file on the server (safetensors)", key="train-weights"
        ).strip()
    return asked
