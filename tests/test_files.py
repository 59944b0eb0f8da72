"""Files that appear whole, JSON in them, and the state of a job's folder."""

from __future__ import annotations

import os

import pytest

from cmlcore import job_folder
from cmlcore.files import read_json, whole_file, write_json
from cmlcore.store.ids import unused


def names(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_file())


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_takes_its_name_only_when_it_is_whole(tmp_path, durable) -> None:
    path = tmp_path / "new" / "a.txt"
    with whole_file(path, durable=durable) as part:
        part.write_text("1")
        assert not path.exists()
        assert part.parent == path.parent
    assert path.read_text() == "1"
    assert names(path.parent) == ["a.txt"]


def test_after_an_error_the_old_file_stands_and_nothing_lies_about(tmp_path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def broken_off() -> None:
        with whole_file(path) as part:
            part.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken_off()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_of_two_writers_the_last_wins(tmp_path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as first:
        first.write_text("first")
        with whole_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("content", [None, "", "{", "[1]", "\udcff".encode("utf-8", "surrogateescape")])
def test_what_is_no_json_object_reads_as_nothing(tmp_path, content) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read_json(path) == {}


def test_json_comes_back(tmp_path) -> None:
    write_json(tmp_path / "a.json", {"µ": [1, None]})
    assert read_json(tmp_path / "a.json") == {"µ": [1, None]}


def test_a_status_keeps_what_is_not_changed(tmp_path) -> None:
    job_folder.write_status(tmp_path, state="waiting", step=1)
    job_folder.write_status(tmp_path, state="running")
    assert job_folder.read_status(tmp_path) == {"state": "running", "step": 1}


def test_a_stop_is_asked_for_and_taken_back(tmp_path) -> None:
    assert not job_folder.stop_requested(tmp_path)
    job_folder.request_stop(tmp_path)
    assert job_folder.stop_requested(tmp_path)
    job_folder.clear_stop(tmp_path)
    job_folder.clear_stop(tmp_path)
    assert not job_folder.stop_requested(tmp_path)


@pytest.mark.parametrize(
    ("pid", "alive"), [(os.getpid(), True), (2**22 + 1, False), (None, False), ("1", False)]
)
def test_a_process_is_there_or_not(pid, alive) -> None:
    assert job_folder.pid_alive({"pid": pid}) is alive


def test_a_taken_name_gets_a_number() -> None:
    assert unused("a", {"b"}) == "a"
    assert unused("a", {"a", "a-2"}) == "a-3"
