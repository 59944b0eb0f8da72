"""The class tree: names after ICSH (Palmer et al. 2015, doi 10.1111/ijlh.12327), German names as aliases.

The main classes have the colours of the Okabe-Ito palette (2008), told apart under the common
colour-vision deficiencies; the sub-classes of leukocytes have families of one hue each, the darker the
more mature among neutrophils. Three-letter aliases are the codes of Matek et al. (2019).
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
    # maturation of the neutrophil, youngest first: the order in which a differential is read
    CellClass("blast", "Blast", "leukocyte", "#B0235F", ("blast cell", "Blast (nicht näher bezeichnet)")),
    CellClass("myeloblast", "Myeloblast", "blast", "#D81B60", ("MYO",)),
    CellClass("monoblast", "Monoblast", "blast", "#F48FB1", ("MOB",)),
    CellClass(
        "immature_granulocyte",
        "Immature granulocyte",
        "leukocyte",
        "#8E5BD0",
        ("IG", "unreifer Granulozyt"),
    ),
    CellClass("promyelocyte", "Promyelocyte", "immature_granulocyte", "#5E35B1", ("PMO", "Promyelozyt")),
    CellClass(
        "promyelocyte_bilobed",
        "Promyelocyte (bilobed)",
        "promyelocyte",
        "#3F1F8C",
        ("PMB", "bilobed promyelocyte", "Promyelozyt (zweilappig)"),
    ),
    CellClass("myelocyte", "Myelocyte", "immature_granulocyte", "#9C7AE0", ("MYB", "Myelozyt")),
    CellClass("metamyelocyte", "Metamyelocyte", "immature_granulocyte", "#C3AEEF", ("MMZ", "Metamyelozyt")),
    CellClass("neutrophil", "Neutrophil", "leukocyte", "#2979D9", ("neutrophiler Granulozyt",)),
    CellClass(
        "neutrophil_band",
        "Band neutrophil",
        "neutrophil",
        "#82B1F5",
        ("band", "NGB", "neutrophil band", "stabkerniger Granulozyt", "Stabkerniger"),
    ),
    CellClass(
        "neutrophil_segmented",
        "Segmented neutrophil",
        "neutrophil",
        "#0D47A1",
        ("segmented", "NGS", "neutrophil segmented", "segmentkerniger Granulozyt", "Segmentkerniger"),
    ),
    CellClass("eosinophil", "Eosinophil", "leukocyte", "#E69F00", ("EOS", "eosinophiler Granulozyt")),
    CellClass("basophil", "Basophil", "leukocyte", "#263238", ("BAS", "basophiler Granulozyt")),
    CellClass("monocyte", "Monocyte", "leukocyte", "#00838F", ("MON", "Monozyt")),
    CellClass("lymphocyte", "Lymphocyte", "leukocyte", "#558B2F", ("LYT", "typical lymphocyte", "Lymphozyt")),
    CellClass(
        "lymphocyte_atypical",
        "Lymphocyte (atypical)",
        "lymphocyte",
        "#AED581",
        ("LYA", "atypical lymphocyte", "atypischer Lymphozyt"),
    ),
    CellClass("net", "NET", "leukocyte", "#CC79A7", ("neutrophil extracellular trap",)),
    CellClass(
        "pseudo_gaucher_cell", "Pseudo-Gaucher cell", "leukocyte", "#F0E442", ("Pseudo-Gaucher-Zelle",)
    ),
    CellClass("megakaryocyte", "Megakaryocyte", "leukocyte", "#56B4E9", ("Megakaryozyt",)),
    # counted per 100 leukocytes, not among them
    CellClass(
        "erythroblast",
        "Erythroblast",
        "blood_cell",
        "#8D4A20",
        ("EBO", "NRBC", "nucleated red blood cell", "Normoblast", "Erythroblast (kernhaltig)"),
    ),
    CellClass(
        "smudge_cell",
        "Smudge cell",
        "blood_cell",
        "#BCAAA4",
        ("KSC", "smear cell", "Kernschatten", "Gumprecht-Kernschatten"),
    ),
    CellClass("unidentified", "Unidentified", "blood_cell", "#8C8C8C", ("nicht identifiziert",)),
)

UNIDENTIFIED = "unidentified"
"""What a cell is called that a network found and is too unsure to name."""

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


def ancestors(key: str) -> tuple[str, ...]:
    """The class and what it is a kind of, from itself up to the root; a class outside the tree alone."""
    chain, at = [key], CLASSES.get(key)
    while at is not None and at.parent is not None:
        chain.append(at.parent)
        at = CLASSES[at.parent]
    return tuple(chain)


def descends(key: str, ancestor: str) -> bool:
    """Whether ``key`` is ``ancestor`` or a kind of it."""
    return ancestor in ancestors(key)


def color(key: str) -> str:
    """Hex colour of a class, grey for a class outside the tree (a user's own)."""
    return CLASSES[key].color if key in CLASSES else CLASSES["unidentified"].color


def label(key: str) -> str:
    """Label of a class; a class outside the tree is shown by its key."""
    return CLASSES[key].label if key in CLASSES else key.replace("_", " ").capitalize()
