"""Which classes are judged: the finest that both the model and the labels know.

A model that finds leukocytes is judged on leukocytes where the labels say neutrophil, and a model that names
neutrophils is judged on leukocytes where the labels say no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmlcore.classes import label
from cmlcore.errors import InputError
from cmlcore.ground_truth.records import Record, class_index


@dataclass(frozen=True, slots=True)
class Mapping:
    """The classes judged, and where each name of the model and of the labels goes (None: nowhere)."""

    classes: tuple[str, ...]
    model: dict[str, str | None]
    truth: dict[str, str | None]

    def index(self, name: str) -> int:
        """Place of a name among ``classes``; -1 where it is not judged."""
        return class_index(name, self.classes)

    def indices(self, names: Iterable[str]) -> NDArray[np.int64]:
        """``index`` of each name."""
        return np.array([self.index(n) for n in names], np.int64).reshape(-1)

    def to_json(self) -> dict[str, dict[str, str | None]]:
        """As ``Evaluation.mapping`` holds it."""
        return {"model": dict(self.model), "truth": dict(self.truth)}

    def notes(self) -> list[str]:
        """Sentences on names judged as another class, or not at all."""
        said = []
        for who, names in (("The model's", self.model), ("The labels'", self.truth)):
            for name, judged in names.items():
                if judged is None:
                    fate = "left out" if names is self.model else "ignored places"
                    said.append(f"{who} class {label(name)} is unknown to the other side: {fate}.")
                elif judged != name:
                    said.append(f"{who} class {label(name)} is judged as {label(judged)}.")
        return said


def label_names(records: Sequence[Record]) -> tuple[str, ...]:
    """Class keys that the records' labels know, those with cells first; sorted, so that they are the same
    whatever the order of the records.
    """
    seen = sorted({n for r in records for n in r.names})
    return (*seen, *sorted({c for r in records for c in r.complete} - set(seen)))


def map_classes(model: Sequence[str], truth: Sequence[str], classes: Sequence[str] | None = None) -> Mapping:
    """Find the classes to judge.

    Args:
        model: class keys the model finds.
        truth: class keys the labels know.
        classes: judge these instead of the finest common ones.

    Raises:
        InputError: the two have no class in common.

    """
    if classes is None:
        known = {model[i] for t in truth if (i := class_index(t, tuple(model))) >= 0}
        known |= {truth[i] for m in model if (i := class_index(m, tuple(truth))) >= 0}
        classes = tuple(dict.fromkeys(c for c in (*model, *truth) if c in known))
    judged = tuple(classes)

    def goes(names: Sequence[str]) -> dict[str, str | None]:
        return {n: judged[i] if (i := class_index(n, judged)) >= 0 else None for n in names}

    made = Mapping(judged, goes(model), goes(truth))
    if not set(made.model.values()) & set(made.truth.values()) - {None}:
        raise InputError(
            f"The model finds {_listed(model)}, the labels name {_listed(truth)}: "
            "they have no class in common; choose other labels or another model."
        )
    return made


def _listed(names: Sequence[str]) -> str:
    return ", ".join(label(n) for n in names) or "nothing"
