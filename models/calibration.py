"""From a network's score to the probability that the found cell is right.

A card may hold, under ``calibration``, a map for each class: ``{"x": scores, "y": probabilities}``, fitted on
``val`` (isotonic regression, Zadrozny and Elkan 2002). Between its knots it is linear, beyond them constant.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import ModelError

Model = TypeVar("Model")
OWN = 1e-3
"""Share of a score's own value in the calibrated one: where a map is flat, scores of a class keep their
order, and with it average precision stays as it was."""

Map = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The maps of a card in the order of its classes; None where scores stay as they are."""

    maps: tuple[Map | None, ...]

    @classmethod
    def of(cls, raw: Mapping[str, Any] | None, classes: Sequence[str]) -> Calibration:
        """Read the card's ``calibration``.

        Raises:
            ModelError: a map is no monotone map from scores to probabilities, or its class is unknown.

        """
        given = raw or {}
        if not isinstance(given, Mapping) or set(given) - set(classes):
            raise ModelError("The card's calibration must map its own classes; fit it again.")
        return cls(tuple(_checked(given[c], c) if c in given else None for c in classes))

    def apply(self, scores: NDArray[np.floating], classes: NDArray[np.integer]) -> NDArray[np.float64]:
        """Probabilities ``(N,)`` of scores ``(N,)`` whose classes are indices ``(N,)``."""
        out = np.array(scores, np.float64)
        for i, given in enumerate(self.maps):
            if given is not None:
                own = classes == i
                out[own] = _mapped(out[own], given)
        return out

    def raw_floor(self, probability: float) -> float:
        """The lowest score that any class maps to ``probability`` or more; above 1 where none does."""
        return min((_inverse(probability, m) for m in self.maps), default=probability)


def raw(model: Model) -> Model:
    """A view of a loaded model that gives the network's own scores: what a calibration is fitted to."""
    view = copy.copy(model)
    view.calibration = Calibration(tuple(None for _ in view.classes))  # type: ignore[attr-defined]
    return view


def _checked(given: Any, name: str) -> Map:
    try:
        x, y = (np.array(given[k], np.float64) for k in ("x", "y"))
        fits = x.ndim == 1 and x.shape == y.shape and len(x) >= 2
        rising = fits and bool((np.diff(x) > 0).all() and (np.diff(y) >= 0).all())
        usable = rising and all(0 <= v <= 1 for v in (x[0], x[-1], y[0], y[-1]))
    except (KeyError, TypeError, ValueError):
        usable = False
    if not usable:
        raise ModelError(
            f"The card's calibration of {name} is no rising map from 0..1 to 0..1; fit it again."
        )
    return x, y


def _mapped(scores: NDArray[np.float64], given: Map) -> NDArray[np.float64]:
    return np.asarray((1 - OWN) * np.interp(scores, *given) + OWN * scores, np.float64)


def _inverse(probability: float, given: Map | None) -> float:
    """The lowest score whose map reaches ``probability``: exact, for the map is linear between its knots."""
    if given is None:
        return probability
    knots = np.unique(np.concatenate(([0.0], given[0], [1.0])))
    values = _mapped(knots, given)
    if probability > values[-1]:
        return math.inf
    return float(np.interp(probability, values, knots))
