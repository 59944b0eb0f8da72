"""Jobs in child processes: order, ending, cancelling, dying, and a server that goes away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cmlcore.job_folder import read_status, request_stop, write_status
from cmlcore.jobs import child
from cmlcore.jobs.child import Children, resume

WAIT_S = 120.0
WORK = """
import os, sys, time
from pathlib import Path
from cmlcore.job_folder import stop_requested, write_status

folder = Path(sys.argv[1])
todo = (folder / "todo").read_text()
with (folder.parent / "order.txt").open("a") as f:
    f.write(folder.name + "\\n")
if todo == "die":
    os._exit(3)
if todo == "spawn":
    import subprocess
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (folder / "other").write_text(str(other.pid))
heeds = todo in ("heed", "linger")
while todo != "quick" and not (heeds and stop_requested(folder)):
    time.sleep(0.02)
write_status(folder, state="cancelled" if heeds else "done", message="by the child")
while todo == "linger" and not (folder / "leave").exists():
    time.sleep(0.02)
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of jobs, and a module ``work_for_test`` that does what a folder's ``todo`` says."""
    (tmp_path / "work_for_test.py").write_text(WORK)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).resolve().parents[2]}")
    return tmp_path / "jobs"


@pytest.fixture
def children(root: Path) -> Iterator[Children]:
    made = Children("work_for_test", lambda: root)
    yield made
    made.stop()


def job(root: Path, name: str, todo: str) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "todo").write_text(todo)
    write_status(folder, state="waiting")
    return folder


def until(children: Children | None, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline
        if children is not None:
            children.turn()
        time.sleep(0.02)


def state(folder: Path) -> str:
    return str(read_status(folder).get("state"))


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_nothing_there_is_nothing_to_do(children) -> None:
    children.turn()


def test_the_oldest_goes_first_one_at_a_time(root, children) -> None:
    folders = [job(root, name, "quick") for name in ("b", "a", "c")]
    for i, folder in enumerate(folders):
        os.utime(folder / "status.json", (i, i))
    until(children, lambda: all(state(f) == "done" for f in folders))
    assert (root / "order.txt").read_text().split() == ["b", "a", "c"]
    assert read_status(folders[0])["message"] == "by the child"


def test_a_child_that_heeds_stop_says_how_it_ended(root, children) -> None:
    folder = job(root, "a", "heed")
    until(children, lambda: state(folder) == "running" and (root / "order.txt").exists())
    request_stop(folder)
    until(children, lambda: state(folder) == "cancelled")
    assert read_status(folder)["message"] == "by the child"


def test_one_that_does_not_heed_stop_is_killed_with_all_it_started(root, children, monkeypatch) -> None:
    monkeypatch.setattr(child, "GRACE_S", 0.1)
    folder = job(root, "a", "spawn")
    until(children, lambda: (folder / "other").exists() and (folder / "other").read_text() != "")
    request_stop(folder)
    until(children, lambda: state(folder) == "cancelled")
    until(None, lambda: gone(int((folder / "other").read_text())))
    assert read_status(folder)["message"] == child.CANCELLED


def test_one_cancelled_before_its_turn_never_starts(root, children) -> None:
    folder = job(root, "a", "quick")
    request_stop(folder)
    until(children, lambda: state(folder) == "cancelled")
    assert not (root / "order.txt").exists()
    resume(folder)
    until(children, lambda: state(folder) == "done")


def test_a_child_that_dies_leaves_a_sentence(root, children) -> None:
    folder = job(root, "a", "die")
    until(children, lambda: state(folder) == "failed")
    assert read_status(folder)["message"] == child.DIED


def test_work_goes_on_after_the_service_ended(root, children) -> None:
    folder = job(root, "a", "endless")
    until(children, lambda: state(folder) == "running" and (root / "order.txt").exists())
    pid = read_status(folder)["pid"]
    children.stop()
    assert gone(pid)
    assert state(folder) == "waiting"
    (folder / "todo").write_text("quick")
    until(Children("work_for_test", lambda: root), lambda: state(folder) == "done")


def test_a_cancelled_job_put_back_in_line_while_its_child_leaves_is_done_anew(root, children) -> None:
    folder = job(root, "a", "linger")
    until(children, lambda: state(folder) == "running")
    request_stop(folder)
    until(children, lambda: state(folder) == "cancelled")
    resume(folder)
    (folder / "todo").write_text("quick")
    (folder / "leave").touch()
    until(children, lambda: state(folder) != "waiting")
    until(children, lambda: state(folder) != "running")
    assert state(folder) == "done"


def test_a_running_job_of_a_dead_process_waits_again_and_one_of_a_live_one_is_left_alone(
    root, children
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, alive = job(root, "a", "quick"), job(root, "b", "quick")
    write_status(dead, state="running", pid=ended.pid)
    write_status(alive, state="running", pid=os.getpid())
    until(children, lambda: state(dead) == "done")
    assert state(alive) == "running"
    os.utime(alive / "status.json", (1, 1))  # this process lives, but has said nothing for years
    until(children, lambda: state(alive) == "done")


def test_a_child_goes_when_its_parent_is_killed(root) -> None:
    folder = job(root, "a", "endless")
    code = (
        "import sys, time; from pathlib import Path; from cmlcore.jobs.child import Children\n"
        f"c = Children('work_for_test', lambda: Path({str(root)!r}))\n"
        "while True: c.turn(); time.sleep(0.05)"
    )
    server = subprocess.Popen([sys.executable, "-c", code])
    until(None, lambda: state(folder) == "running" and (root / "order.txt").exists())
    server.send_signal(signal.SIGKILL)
    server.wait()
    until(None, lambda: gone(read_status(folder)["pid"]))


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_status_that_cannot_be_read_is_none(tmp_path, text) -> None:
    (tmp_path / "status.json").write_text(text)
    assert read_status(tmp_path) == {}
    write_status(tmp_path, state="waiting")
    assert json.loads((tmp_path / "status.json").read_text()) == {"state": "waiting"}
