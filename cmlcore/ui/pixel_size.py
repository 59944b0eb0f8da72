"""The pixel size: entered by a person, or estimated from the erythrocytes and marked as an estimate."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import streamlit as st
from numpy.typing import NDArray

from cmlcore import store
from cmlcore.errors import InputError
from cmlcore.geometry import MPP_LEAST, MPP_MOST, Mpp, Region
from cmlcore.scale import ERYTHROCYTE_UM, HEALTHY_UM
from cmlcore.slides import open_slide
from cmlcore.store import Slide
from cmlcore.ui import format as fmt
from cmlcore.ui import widgets

_SIDE = 2048
_LEAST = 20  # discs below which no estimate is given


@dataclass(frozen=True, slots=True)
class Estimate:
    """A pixel size told by the erythrocytes.

    Attributes:
        mpp: µm per pixel, were they ``ERYTHROCYTE_UM`` wide.
        low: were they as small as a healthy person's may be, and their median that of the 95 % interval.
        high: were they as large.
        cells: how many were measured.

    """

    mpp: float
    low: float
    high: float
    cells: int


def pixel_size_form(slide: Slide) -> bool:
    """Entry of the pixel size, with an estimate on request. True when it has been set."""
    current = slide.mpp
    st.caption(
        "µm per pixel at full resolution; the scanner’s protocol says it. 40× is often 0.25, 100× often 0.1."
    )
    suggestion = st.session_state.get(_key(slide.id))
    start = round(suggestion.mpp, 4) if suggestion else current.mean if current else None
    with st.form(f"mpp-{slide.id}", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        value = st.number_input(
            "Pixel size (µm)",
            MPP_LEAST,
            MPP_MOST,
            start,
            step=0.001,
            format="%.4f",
            placeholder="e.g. 0.25",
        )
        entered = st.form_submit_button("Use", type="primary")
    if suggestion:
        st.caption(
            f":orange[:material/straighten: {fmt.significant(suggestion.mpp)}\u202fµm is an estimate from "
            f"{fmt.count(suggestion.cells)} erythrocytes, taken to be {ERYTHROCYTE_UM:g}\u202fµm across. "
            f"{likely_text(suggestion.low, suggestion.high)} Correct it if you know better; what is measured "
            "with it is marked as estimated.]"
        )
    elif slide.info is not None and slide.info.kind == "brightfield":
        _offer_estimate(slide)
    if not entered:
        return False
    with widgets.said_plainly():
        if value is None:
            raise InputError("Enter the pixel size in µm.")
        told = suggestion.mpp if suggestion else current.mean if current and slide.mpp_is_estimate else None
        is_estimate = told is not None and abs(value - told) < 1e-4
        store.set_mpp(slide.id, Mpp(value, value), is_estimate=is_estimate)
        st.session_state.pop(_key(slide.id), None)
        return True
    return False


def images_mpp(key: str) -> float | None:
    """Entry of the pixel size of pictures that belong to no slide; None while nothing is entered."""
    return st.number_input(
        "µm per pixel", MPP_LEAST, MPP_MOST, None, 0.01, format="%.4f", placeholder="for example 0.1", key=key
    )


def _offer_estimate(slide: Slide) -> None:
    if st.button("Estimate from the erythrocytes", icon=":material/straighten:", type="tertiary"):
        with widgets.said_plainly(), st.spinner("Measuring erythrocytes"):
            st.session_state[_key(slide.id)] = estimate(slide)
            st.rerun(scope="fragment")


def _key(slide_id: str) -> str:
    return f"mpp-estimate-{slide_id}"


def likely_text(low: float, high: float) -> str:
    """Between which bounds an estimated pixel size lies, and why."""
    return (
        f"With healthy erythrocytes, {HEALTHY_UM[0]:g} to {HEALTHY_UM[1]:g}\u202fµm wide, it lies between "
        f"{fmt.significant(low)} and {fmt.significant(high)}\u202fµm; with diseased ones it may be "
        "further off."
    )


def likely_range(mpp: float) -> tuple[float, float]:
    """Bounds of an estimated pixel size from the spread between healthy people alone."""
    return mpp * HEALTHY_UM[0] / ERYTHROCYTE_UM, mpp * HEALTHY_UM[1] / ERYTHROCYTE_UM


def estimate_note(mpp: float) -> str:
    """What is said of single-cell images whose pixel size was estimated."""
    return (
        ":orange[:material/straighten: The pixel size is an estimate from the erythrocytes around. "
        f"{likely_text(*likely_range(mpp))}]"
    )


def estimate(slide: Slide) -> Estimate:
    """µm per pixel from the erythrocytes in the middle of the slide's first scene.

    Raises:
        InputError: too few erythrocytes lie there.
        SlideError: the pixels cannot be read.

    """
    with open_slide(slide.path) as reader:
        size = reader.info.scenes[0].size
        for share in (0.5, 0.35, 0.65):
            x, y = (max(0, int(s * share) - _SIDE // 2) for s in (size.w, size.h))
            found = erythrocyte_diameters_px(
                reader.read(0, Region(x, y, min(_SIDE, size.w), min(_SIDE, size.h)))
            )
            if len(found):
                return from_diameters(found)
    raise InputError("Too few single erythrocytes were found to estimate the pixel size; enter it by hand.")


def from_diameters(diameters_px: NDArray[np.float64]) -> Estimate:
    """The estimate from the diameters of erythrocytes.

    The interval of their median is that of the order statistics (Conover, Practical Nonparametric
    Statistics, 1999, section 3.2).
    """
    found, n = np.sort(diameters_px), len(diameters_px)
    arm = 0.98 * np.sqrt(n)
    first, last = max(0, int(np.floor(n / 2 - arm))), min(n - 1, int(np.ceil(n / 2 + arm)))
    return Estimate(
        ERYTHROCYTE_UM / float(np.median(found)),
        HEALTHY_UM[0] / float(found[last]),
        HEALTHY_UM[1] / float(found[first]),
        n,
    )


def erythrocyte_diameters_px(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Diameters of the single round discs of an image; none where there are fewer than 20.

    Args:
        rgb: uint8 ``(H, W, 3)``.

    """
    found = disc_diameters_px(rgb)
    if len(found) >= _LEAST:
        middle = np.median(found)
        found = found[(found > 0.7 * middle) & (found < 1.4 * middle)]  # leaves out platelets and leukocytes
    return found if len(found) >= _LEAST else found[:0]


def disc_diameters_px(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Diameters of the dark discs that touch neither each other nor the edge.

    Args:
        rgb: uint8 ``(H, W, 3)``.

    """
    green = cv2.GaussianBlur(rgb[:, :, 1], (0, 0), 1.5)  # haemoglobin absorbs green
    _, mask = cv2.threshold(green, 0, 255, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    h, w = green.shape
    found = []
    for outline in outlines:
        x, y, bw, bh = cv2.boundingRect(outline)
        area, around = cv2.contourArea(outline), cv2.arcLength(outline, closed=True)
        inside = x > 0 and y > 0 and x + bw < w and y + bh < h
        if inside and area > 60 and 4 * np.pi * area / around**2 > 0.8:
            pixels = area + around / 2 + 1  # the outline runs through the centres of the edge's pixels
            found.append(np.sqrt(4 * pixels / np.pi))
    return np.array(found, dtype=np.float64)
