"""What to compare, on which images: the form of the bench page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import streamlit as st

from cmlcore.classes import label
from cmlcore.errors import InputError
from cmlcore.jobs.bench import FETCH, BenchRequest, submit_bench
from cmlcore.jobs.cell_sets import found_cell_sets, likely_file, weight_files
from cmlcore.jobs.data_roots import checked_path, short_names
from cmlcore.single_cell.bench_table import TUNINGS
from cmlcore.single_cell.data import CellSet, load
from cmlcore.single_cell.spaces import SPACES, TITLES
from cmlcore.single_cell.splits import said
from cmlcore.ui import format as fmt
from cmlcore.ui import selection, widgets
from cmlcore.ui.pixel_size import images_mpp
from cmlcore.ui.server_path import OTHER, typed_path
from models.backbone_names import NAMES

BENCH = "bench"
SCALES = {"known": "As its layout says", "given": "I enter it", "estimate": "Estimate from the erythrocytes"}
CUTS = {"folds": "Five folds", "holdout": "80 / 10 / 10", "parts": "The set’s own parts"}
SMALL = ["dinov2_vits14", "efficientnet_lite0"]
_LEAST = 3  # images a class needs


def start_form(*, expanded: bool) -> None:
    """Ask for a bench, folded away once there is one."""
    with st.expander("New bench", expanded=expanded, icon=":material/add:"):
        left, right = st.columns(2, gap="large")
        with widgets.said_plainly():
            with left:
                asked = _images()
            with right:
                asked |= _networks()
                asked |= _course(asked)
            if st.button("Start the bench", type="primary", icon=":material/play_arrow:", key="bench-start"):
                _submit(asked)


def _images() -> dict[str, Any]:
    st.markdown("##### On which images")
    sets = found_cell_sets()
    names = short_names(list(sets))
    chosen = st.selectbox(
        "Set of single-cell images", [*sets, OTHER], key="bench-set",
        format_func=lambda p: f"{names[p]} ({sets[p]})" if p in sets else p,
    )  # fmt: skip
    if chosen == OTHER:
        chosen = str(typed_path("bench-path") or "")
    found = _set(chosen) if chosen else None
    asked: dict[str, Any] = {"data": chosen, "classes": (), "found": found}
    if found is not None:
        counts = found.counts()
        picked = st.pills(
            "Classes", list(counts), selection_mode="multi", wrap=True,
            default=[c for c in counts if counts[c] >= _LEAST],
            format_func=lambda c: f"{label(c)} {fmt.count(counts[c])}", key=f"bench-classes-{chosen}",
        )  # fmt: skip
        asked["classes"] = tuple(picked)
        st.caption(f":material/call_split: {said(found.unit)}")
    return asked | _scale(found)


def _scale(found: CellSet | None) -> dict[str, Any]:
    ways = [k for k in SCALES if k != "known" or (found is not None and found.mpp is not None)]
    scale = st.segmented_control(
        "Pixel size", ways, format_func=SCALES.__getitem__, default=ways[0], required=True, key="bench-scale"
    )
    return {"scale": scale, "mpp": images_mpp("bench-mpp") if scale == "given" else None}


@st.cache_data(ttl=60, show_spinner="Listing the images")
def _listed(path: str) -> CellSet:
    return load(Path(path))


def _set(path: str) -> CellSet:
    return _listed(str(checked_path(path)))


# -- networks -------------------------------------------------------------------------------------------


def _networks() -> dict[str, Any]:
    st.markdown("##### What is compared")
    files = weight_files()
    here = {k: likely_file(k, n.weights, files) for k, n in NAMES.items()}
    ready = [k for k in SMALL if here[k]] or SMALL[:1]
    keys = st.multiselect(
        "Backbones", list(NAMES), default=ready, key="bench-backbones", format_func=lambda k: NAMES[k].title,
        help="With weights here: " + (", ".join(NAMES[k].title for k in NAMES if here[k]) or "none"),
    )  # fmt: skip
    starts: dict[str, Path | Literal["fetch"]] = {}
    for key in keys:
        start = _start(key, here[key], files)
        if start is not None:
            starts[key] = start
    tunings = st.pills(
        "What learns", list(TUNINGS), selection_mode="multi", default=["last"], key="bench-tunings",
        format_func=lambda k: TUNINGS[k].capitalize(),
    )  # fmt: skip
    spaces = st.pills(
        "Colours", list(SPACES), selection_mode="multi", default=["rgb", "rgb+aug", "raw"], wrap=True,
        key="bench-spaces", format_func=TITLES.__getitem__,
        help="Raw: what the camera’s sensor saw, computed back from the picture (Brooks et al. 2019).",
    )  # fmt: skip
    return {"starts": starts, "tunings": tuple(tunings), "spaces": tuple(spaces), "wanted": len(keys)}


def _start(key: str, likely: Path | None, files: list[Path]) -> Path | Literal["fetch"] | None:
    """Where a backbone's weights come from; None, with the sentence, where there are none."""
    name = NAMES[key]
    options: list[Path | Literal["fetch"]] = [likely] if likely is not None else []
    if name.weights is not None:
        options.append(FETCH)
    options += [f for f in files if f not in options]
    if likely is None and name.weights is None and not files:
        st.caption(
            f":material/block: {name.title}: its weights are not here and have no name to fetch them by; "
            f"put its authors’ file into the folder backbones of CML_HOME as {key}.pth."
        )
        return None
    if likely is not None and len(options) == 1:
        return likely
    return st.selectbox(
        f"Weights of {name.title}", options, key=f"bench-start-{key}",
        format_func=lambda o: o.name if isinstance(o, Path) else f"{name.weights}, fetched over the network",
    )  # fmt: skip


def _course(asked: dict[str, Any]) -> dict[str, Any]:
    found: CellSet | None = asked["found"]
    parts = {i.part for i in found.images} if found is not None else set()
    cuts = [k for k in CUTS if k != "parts" or {"train", "val"} <= parts]
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    with left:
        cut = st.segmented_control(
            "How the images are cut", cuts, format_func=CUTS.__getitem__, default="folds", required=True,
            key="bench-cut",
        )  # fmt: skip
    epochs = 12
    with right:
        if "whole" in asked["tunings"]:
            epochs = st.number_input("Epochs", 1, 1000, 12, key="bench-epochs", help="Of the whole model")
    fits = len(asked["starts"]) * len(asked["tunings"]) * len(asked["spaces"]) * (5 if cut == "folds" else 1)
    long = " Tuning whole models takes hours without a GPU." if "whole" in asked["tunings"] else ""
    st.caption(f"{fmt.count(fits)} fits. A bench that is broken off goes on where it was.{long}")
    return {"cut": cut, "epochs": int(epochs)}


def _submit(asked: dict[str, Any]) -> None:
    found: CellSet | None = asked.pop("found")
    wanted = asked.pop("wanted")
    if not asked["data"] or found is None:
        raise InputError("Choose a set of images, or type the path of one.")
    if len(asked["classes"]) < 2:
        raise InputError("Choose at least two classes.")
    if not wanted or len(asked["starts"]) < wanted:
        raise InputError("Choose at least one backbone, and leave out those without weights.")
    if not asked["tunings"] or not asked["spaces"]:
        raise InputError("Choose at least one way of tuning and one colour space.")
    if asked["scale"] == "given" and asked["mpp"] is None:
        raise InputError("Enter how many µm a pixel of these images has, or let it be estimated.")
    if len(asked["classes"]) == len(found.classes):
        asked["classes"] = ()
    try:
        key = submit_bench(BenchRequest(**{**asked, "data": Path(asked["data"])}))
    except ValueError as e:  # pydantic; the widgets keep every value in bounds
        raise InputError(f"A setting cannot be used: {e}.") from e
    selection.choose(BENCH, key)
    st.rerun()
