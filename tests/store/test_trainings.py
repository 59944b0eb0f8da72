"""Training rows: what is asked is kept, statuses change only from where they may, folders go with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmlcore import store
from cmlcore.errors import InputError
from cmlcore.settings import settings

ASKED = {"model": "type2", "lr": 1e-4, "classes": ["net"], "tile": None}


@pytest.fixture(autouse=True)
def _schema(cml_home: Path) -> None:
    store.ensure_schema()


def test_what_is_asked_comes_back_as_it_was() -> None:
    row = store.get_training(store.add_training("  My   first \n one ", ASKED).id)
    assert (row.name, row.settings, row.status, row.message) == ("My first one", ASKED, "queued", "")
    assert (row.cancel_requested, row.started_at, row.finished_at) == (False, None, None)
    assert row.created_at.tzinfo is not None


@pytest.mark.parametrize("name", ["", "  ", "x" * 201])
def test_a_name_has_1_to_200_characters(name: str) -> None:
    with pytest.raises(InputError, match="200"):
        store.add_training(name, ASKED)


def test_newest_first_and_by_status() -> None:
    ids = [store.add_training(f"Number {i}", ASKED).id for i in range(4)]
    assert store.update_training(ids[1], status="done")
    assert [r.id for r in store.list_trainings()] == ids[::-1]
    assert [r.id for r in store.list_trainings("queued")] == [ids[3], ids[2], ids[0]]
    assert [r.id for r in store.list_trainings("done", "failed")] == [ids[1]]


def test_a_status_changes_only_from_where_it_may() -> None:
    training = store.add_training("One", ASKED).id
    assert not store.update_training(training, only=("running",), status="done")
    assert store.update_training(training, only=("queued", "running"), status="cancelled")
    assert store.get_training(training).status == "cancelled"


def test_delete_takes_the_folder_with_it_and_spares_the_active() -> None:
    training = store.add_training("One", ASKED).id
    folder = store.training_dir(training)
    assert folder.parent == settings().trainings_dir
    folder.mkdir(parents=True)
    (folder / "curves.jsonl").write_text("")
    with pytest.raises(InputError, match="cancel it first"):
        store.delete_training(training)
    store.update_training(training, status="failed")
    store.delete_training(training)
    assert not folder.exists()
    assert store.list_trainings() == []
    with pytest.raises(InputError, match="no such training"):
        store.delete_training(training)
