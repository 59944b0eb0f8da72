"""Which classes are judged."""

from __future__ import annotations

import pytest
from judged import record

from cmlcore.errors import InputError
from cmlcore.evaluation.mapping import label_names, map_classes

THREE = ("erythrocyte", "leukocyte", "thrombocyte")


@pytest.mark.parametrize(
    ("model", "truth", "judged"),
    [
        (THREE, THREE, THREE),
        (THREE, ("leukocyte",), ("leukocyte",)),
        (THREE, ("net", "megakaryocyte"), ("leukocyte",)),
        (("net", "megakaryocyte"), ("leukocyte",), ("leukocyte",)),
        (("net", "megakaryocyte"), ("net", "leukocyte"), ("net", "leukocyte")),
        (("erythrocyte",), ("blood_cell",), ("blood_cell",)),
        (("my_own", "erythrocyte"), ("my_own",), ("my_own",)),
    ],
)
def test_the_finest_classes_both_know(
    model: tuple[str, ...], truth: tuple[str, ...], judged: tuple[str, ...]
) -> None:
    assert map_classes(model, truth).classes == judged


def test_where_each_name_goes() -> None:
    made = map_classes(THREE, ("net", "erythrocyte"))
    assert made.model == {"erythrocyte": "erythrocyte", "leukocyte": "leukocyte", "thrombocyte": None}
    assert made.truth == {"net": "leukocyte", "erythrocyte": "erythrocyte"}
    assert made.indices(["net", "thrombocyte", "erythrocyte"]).tolist() == [1, -1, 0]
    assert made.notes() == [
        "The model's class Thrombocyte is unknown to the other side: left out.",
        "The labels' class NET is judged as Leukocyte.",
    ]


def test_one_may_choose_the_classes() -> None:
    made = map_classes(THREE, THREE, ("blood_cell",))
    assert made.classes == ("blood_cell",)
    assert set(made.model.values()) == {"blood_cell"}


def test_nothing_in_common_is_said() -> None:
    with pytest.raises(InputError, match="no class in common"):
        map_classes(("erythrocyte",), ("thrombocyte",))
    with pytest.raises(InputError, match="no class in common"):
        map_classes(THREE, THREE, ("net",))


def test_names_of_labels() -> None:
    box = (0, 0, 9, 9)
    records = [
        record([("net", box)], complete=["erythrocyte"]),
        record([("erythrocyte", box)], complete=["net"]),
    ]
    assert label_names(records) == ("erythrocyte", "net")
    assert label_names(records[:1]) == ("net", "erythrocyte")
