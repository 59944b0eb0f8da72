from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cmlcore.ground_truth import Record, class_index, completeness, speaks_of
from cmlcore.ground_truth.reading import class_key
from cmlcore.ground_truth.records import no_boxes

THREE = ("net", "pseudo_gaucher_cell", "megakaryocyte")


def test_a_class_falls_to_its_nearest_ancestor_among_the_wanted():
    assert class_index("net", ("erythrocyte", "leukocyte")) == 1
    assert class_index("net", ("leukocyte", "net")) == 1
    assert class_index("leukocyte", THREE) == -1
    assert class_index("howell_jolly_body", ("erythrocyte", "howell_jolly_body")) == 1
    assert class_index("howell_jolly_body", ("blood_cell",)) == -1


def test_all_leukocytes_labelled_means_all_nets_are_as_something():
    record = Record(Path("a"), "s", None, frozenset({"leukocyte"}), no_boxes(), (), (), None, no_boxes())
    assert completeness(record, ("net", "erythrocyte", "leukocyte")) == (True, False, True)
    assert completeness(replace(record, complete=frozenset({"net"})), ("leukocyte", "net")) == (False, True)
    assert speaks_of(record, ("net",))
    assert not speaks_of(record, ("erythrocyte",))
    assert speaks_of(replace(record, complete=frozenset(), names=("net",)), ("leukocyte",))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("RBC", "erythrocyte"),
        ("Red blood cells", "erythrocyte"),
        ("Platelets", "thrombocyte"),
        ("Erythrozyten", "erythrocyte"),
        ("white-blood-cell", "leukocyte"),
        ("Pseudo-Gaucher cell", "pseudo_gaucher_cell"),
        ("pseudo gaucher cell", "pseudo_gaucher_cell"),
        ("NET", "net"),
        ("Howell-Jolly body", "howell_jolly_body"),
        ("  ", "unnamed"),
    ],
)
def test_names_people_use_find_their_class(name, key):
    assert class_key(name) == key
