"""Which images a training takes: parts, limits, and sources that are left out."""

from __future__ import annotations

import pytest
from drawn_training_set import MPP, draw_set

from cmlcore.errors import InputError
from cmlcore.training.data import described, gather
from cmlcore.training.settings import checked

TWO = ("erythrocyte", "leukocyte")


def asked(*data, **more):
    return checked({"data": data, "classes": TWO, "image_mpp": MPP, "steps": 1, **more})


@pytest.fixture
def two_sets(tmp_path):
    return draw_set(tmp_path / "Lab A", train=4, val=2), draw_set(tmp_path / "Lab B", train=3, val=1)


def test_nothing_of_a_source_left_out_is_learned_from_or_looked_at(two_sets):
    settings = asked(*two_sets, leave_out=("lab b",))
    found = gather(settings)
    assert (len(found.train), len(found.val), len(found.everything)) == (4, 2, 10)
    assert {r.source for r in (*found.train, *found.val)} == {"Lab A"}
    facts = described(found, settings, hashed=False)
    assert facts["sources"] == ["Lab A"]
    assert facts["rows"][0]["used"] == sum(facts["cells"][part]["erythrocyte"] for part in ("train", "val"))
    assert facts["rows"][0]["all"] > facts["rows"][0]["used"]


def test_a_limit_counts_what_is_left(two_sets):
    found = gather(asked(*two_sets, leave_out=("Lab A",), limit=2))
    assert (len(found.train), len(found.val)) == (2, 1)
    assert {r.source for r in found.train} == {"Lab B"}


def test_an_unknown_source_and_leaving_out_all_are_sentences(two_sets):
    with pytest.raises(InputError, match="“Lab C”, which is to be left out; there are Lab A, Lab B"):
        gather(asked(*two_sets, leave_out=("Lab C",)))
    with pytest.raises(InputError, match="No labelled image speaks of"):
        gather(asked(*two_sets, leave_out=("Lab A", "Lab B")))


def test_a_microscope_of_the_public_sets_can_be_left_out(real_data):
    settings = checked({"data": (real_data / "txl_pbc",), "steps": 1, "leave_out": ("raabin",)})
    found, every = gather(settings), gather(settings.model_copy(update={"leave_out": ()}))
    assert {r.source for r in every.train} - {r.source for r in found.train} == {"Raabin"}
    assert len(found.train) == sum(r.source != "Raabin" for r in every.train)
    assert len(found.val) == sum(r.source != "Raabin" for r in every.val)
