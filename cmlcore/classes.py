"""The class tree: names after ICSH (Palmer et al. 2015, doi 10.1111/ijlh.12327), German names as aliases.

Colours are the Okabe-Ito palette (2008), told apart under the common colour-vision deficiencies.
"""

from __future__ import annotations

from dataclasses import dataclass

from cmlcore.errors import InputError


@dataclass(frozen=True, slots=True)
class CellClass:
    """One node of the tree; ``key`` is what files and tables hold, ``label`` what people read."""

    key: str
    label: str
    parent: str | None
    color: str
    aliases: tuple[str, ...] = ()


_TREE = (
    CellClass("blood_cell", "Blood cell", None, "#555555", ("Blutzelle",)),
    CellClass("erythrocyte", "Erythrocyte", "blood_cell", "#D55E00", ("RBC", "red_blood_cell", "Erythrozyt")),
    CellClass("thrombocyte", "Thrombocyte", "blood_cell", "#009E73", ("platelet", "Thrombozyt")),
    CellClass("leukocyte", "Leukocyte", "blood_cell", "#0072B2", ("WBC", "white_blood_cell", "Leukozyt")),
    CellClass("net", "NET", "leukocyte", "#CC79A7", ("neutrophil extracellular trap",)),
    CellClass(
        "pseudo_gaucher_cell", "Pseudo-Gaucher cell", "leukocyte", "#F0E442", ("Pseudo-Gaucher-Zelle",)
    ),
    CellClass("megakaryocyte", "Megakaryocyte", "leukocyte", "#56B4E9", ("Megakaryozyt",)),
    CellClass("unidentified", "Unidentified", "blood_cell", "#8C8C8C", ("nicht identifiziert",)),
)

CLASSES: dict[str, CellClass] = {c.key: c for c in _TREE}
_BY_NAME = {n.casefold(): c for c in _TREE for n in (c.key, c.label, *c.aliases)}


def cell_class(name: str) -> CellClass:
    """Look a class up by key, label or alias, without regard to case.

    Raises:
        InputError: the name is not in the tree.

    """
    try:
        return _BY_NAME[name.casefold()]
    except KeyError:
        raise InputError(f"“{name}” is not a cell class; known are {', '.join(CLASSES)}.") from None


def color(key: str) -> str:
    """Hex colour of a class, grey for a class outside the tree (a user's own)."""
    return CLASSES[key].color if key in CLASSES else CLASSES["unidentified"].color


def label(key: str) -> str:
    """Label of a class; a class outside the tree is shown by its key."""
    return CLASSES[key].label if key in CLASSES else key.replace("_", " ").capitalize()
