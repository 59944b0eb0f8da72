"""The class tree: names that mean one class only, parents that are there, colours that are told apart."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np

from cmlcore.classes import _TREE, CLASSES, ancestors, cell_class, descends


def test_every_name_means_one_class() -> None:
    names = Counter(n for c in _TREE for n in {x.casefold() for x in (c.key, c.label, *c.aliases)})
    assert [n for n, times in names.items() if times > 1] == []


def test_parents_stand_before_their_children() -> None:
    seen: set[str | None] = {None}
    for c in _TREE:
        assert c.parent in seen
        seen.add(c.key)


def test_colours_are_told_apart() -> None:
    rgb = np.array([[int(c.color[i : i + 2], 16) for i in (1, 3, 5)] for c in _TREE], np.float32) / 255
    lab = cv2.cvtColor(rgb[None], cv2.COLOR_RGB2LAB)[0]
    distance = np.linalg.norm(lab[:, None] - lab, axis=-1) + 1e3 * np.eye(len(lab))
    assert distance.min() > 12  # CIE 1976; about 2.3 is just noticeable


def test_what_the_main_classes_were_stays() -> None:
    colours = {"erythrocyte": "#D55E00", "thrombocyte": "#009E73", "leukocyte": "#0072B2", "net": "#CC79A7"}
    assert {k: CLASSES[k].color for k in colours} == colours


def test_ancestry() -> None:
    assert ancestors("neutrophil_band") == ("neutrophil_band", "neutrophil", "leukocyte", "blood_cell")
    assert ancestors("my own") == ("my own",)
    assert descends("promyelocyte_bilobed", "leukocyte")
    assert descends("leukocyte", "leukocyte")
    assert not descends("erythroblast", "leukocyte")
    assert not descends("smudge_cell", "leukocyte")


def test_german_and_short_names_are_known() -> None:
    for name, key in {
        "Stabkerniger": "neutrophil_band",
        "NGS": "neutrophil_segmented",
        "Kernschatten": "smudge_cell",
        "Normoblast": "erythroblast",
        "Promyelozyt": "promyelocyte",
        "platelet": "thrombocyte",
    }.items():
        assert cell_class(name).key == key
