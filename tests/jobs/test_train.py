"""Trainings from the row to the end: done, cancelled, resumed, failed, killed, deleted, restarted."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from jobs_fake_training import ORDER

from cmlcore import job_folder, jobs, store
from cmlcore.errors import InputError
from cmlcore.jobs import processes, shell_trainings, train, train_loop
from cmlcore.jobs.data_roots import checked_path
from cmlcore.jobs.train_loop import TrainLoop
from cmlcore.settings import settings
from cmlcore.training import TrainSettings, run_dir

PATIENCE_S = 240.0  # only ever waited out when something is wrong
HERE = Path(__file__).parent


@pytest.fixture
def loop(cml_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainLoop]:
    """A loop whose trainings cost nothing."""
    (cml_home / "data" / "mine").mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{HERE.parents[1]}")
    store.ensure_schema()
    made = TrainLoop("jobs_fake_training")
    yield made
    made.stop(patience_s=5)


def submit(steps: int = 40, **more: object) -> str:
    data = settings().home / "data" / "mine"
    return jobs.submit_training("Mine", {"data": [str(data)], "steps": steps, **more})


def turn_until(loop: TrainLoop, so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not so():
        assert time.monotonic() < end, [(r.id, r.status, r.message) for r in store.list_trainings()]
        loop.turn()
        time.sleep(0.02)


def is_(training: str, status: str) -> Callable[[], bool]:
    return lambda: store.get_training(training).status == status


def begun(training: str, step: int = 3) -> Callable[[], bool]:
    return lambda: jobs.training_progress(training).step >= step


def sittings(training: str) -> list[tuple[int, int]]:
    """First step and process of every child there was."""
    lines = (store.training_dir(training) / "began.txt").read_text().splitlines()
    return [(int(a), int(b)) for a, b in map(str.split, lines)]


def test_one_after_the_other_in_the_order_asked(loop: TrainLoop) -> None:
    first, second = submit(8), submit(8)
    assert jobs.training_progress(second).ahead == 1
    turn_until(loop, is_(first, "done"))
    assert store.get_training(second).status in ("queued", "running")
    assert not (store.training_dir(second) / "began.txt").exists() or sittings(second)[0][0] == 0
    turn_until(loop, is_(second, "done"))
    for training in (first, second):
        seen, row = jobs.training_progress(training), store.get_training(training)
        assert (seen.step, seen.steps, seen.fraction, seen.left_s, seen.active) == (8, 8, 1.0, None, False)
        assert row.started_at is not None
        assert row.finished_at is not None
        assert [e["step"] for e in run_dir.read_curves(store.training_dir(training))] == list(range(1, 9))
        assert len(sittings(training)) == 1


def test_progress_while_at_work(loop: TrainLoop) -> None:
    training = submit(60)
    turn_until(loop, begun(training))
    seen = jobs.training_progress(training)
    assert seen.status == "running"
    assert seen.device == "CPU (nobody)"
    assert seen.left_s == pytest.approx((60 - seen.step) * 0.05)
    assert seen.fraction == pytest.approx(seen.step / 60)
    child = psutil.Process(sittings(training)[0][1])
    assert child.nice() >= 10


def test_cancelled_then_resumed_from_the_checkpoint(loop: TrainLoop) -> None:
    training = submit(40)
    turn_until(loop, begun(training, 5))
    jobs.cancel_training(training)
    assert jobs.training_progress(training).stopping
    turn_until(loop, is_(training, "cancelled"))
    assert store.get_training(training).message == train.CANCELLED
    stood = int((store.training_dir(training) / run_dir.LAST).read_text())
    assert 5 <= stood < 40
    jobs.resume_training(training)
    with pytest.raises(InputError, match="This training is queued"):
        jobs.resume_training(training)
    turn_until(loop, is_(training, "done"))
    assert [first for first, _ in sittings(training)] == [0, stood]


def test_cancelled_while_it_waits(loop: TrainLoop) -> None:
    training = submit()
    jobs.cancel_training(training)
    row = store.get_training(training)
    assert (row.status, row.message) == ("cancelled", train.CANCELLED_EARLY)
    loop.turn()
    assert not store.training_dir(training).exists()


def test_a_child_that_does_not_listen_is_killed(loop: TrainLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ORDER, "deaf")
    monkeypatch.setattr(train_loop, "ASKED_S", 0.2)
    monkeypatch.setattr(train_loop, "TOLD_S", 0.4)
    training = submit()
    turn_until(loop, begun(training, 1))
    jobs.cancel_training(training)
    turn_until(loop, is_(training, "cancelled"))
    assert not psutil.pid_exists(sittings(training)[0][1])
    assert (store.training_dir(training) / run_dir.LAST).read_text() == "1"


@pytest.mark.parametrize(
    ("order", "message"),
    [("fail", "The loss is not a number any more; resume."), ("die", run_dir.KILLED)],
)
def test_what_fails_says_why_and_can_be_resumed(
    order: str, message: str, loop: TrainLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ORDER, order)
    training = submit(6)
    turn_until(loop, is_(training, "failed"))
    assert store.get_training(training).message == message
    monkeypatch.setenv(ORDER, "")
    jobs.resume_training(training)
    assert store.get_training(training).message == ""
    turn_until(loop, is_(training, "done"))
    assert [first for first, _ in sittings(training)] == [0, 1]


def test_a_module_that_is_broken_fails_in_a_sentence(cml_home: Path, loop: TrainLoop) -> None:
    training = submit()
    broken = TrainLoop("no_such_module")
    turn_until(broken, is_(training, "failed"))
    assert store.get_training(training).message == run_dir.BROKE_OFF
    assert "no_such_module" in (store.training_dir(training) / processes.LOG).read_text()


def test_an_orderly_end_of_the_server_keeps_the_place(loop: TrainLoop) -> None:
    training = submit(40)
    turn_until(loop, begun(training, 5))
    loop.stop()
    assert store.get_training(training).status == "queued"
    turn_until(TrainLoop("jobs_fake_training"), is_(training, "done"))
    (a, _), (b, _) = sittings(training)
    assert (a, b >= 5) == (0, True)


def test_after_a_power_cut_it_goes_on_and_never_twice(loop: TrainLoop) -> None:
    """The row says running, a left-over process holds the lock: nothing is started until it is gone."""
    training = submit(8)
    folder = store.training_dir(training)
    folder.mkdir(parents=True)
    store.update_training(training, status="running")
    with (folder / train_loop.LOCK).open("a") as left_over:
        fcntl.flock(left_over, fcntl.LOCK_EX)
        for _ in range(5):
            loop.turn()
        assert store.get_training(training).status == "queued"
        assert not (folder / "began.txt").exists()
    turn_until(loop, is_(training, "done"))


def test_the_lock_lives_as_long_as_the_child(loop: TrainLoop) -> None:
    training = submit(200)
    turn_until(loop, begun(training, 1))
    with (store.training_dir(training) / train_loop.LOCK).open("a") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(sittings(training)[0][1], signal.SIGKILL)
        turn_until(loop, is_(training, "failed"))
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_cancel_that_a_dead_server_did_not_get_to(loop: TrainLoop) -> None:
    training = submit()
    store.update_training(training, status="running", cancel_requested=True)
    loop.turn()
    assert store.get_training(training).status == "cancelled"


def test_delete_takes_the_folder_and_refuses_at_work(loop: TrainLoop) -> None:
    training = submit(200)
    turn_until(loop, begun(training, 1))
    with pytest.raises(InputError, match="cancel it first"):
        jobs.delete_training(training)
    jobs.cancel_training(training)
    turn_until(loop, is_(training, "cancelled"))
    jobs.delete_training(training)
    assert not store.training_dir(training).exists()
    with pytest.raises(InputError, match="no such training"):
        store.get_training(training)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"data": []}, "at least one set"),
        ({"data": ["/etc"]}, "not below a folder"),
        ({"data": ["/nowhere/at/all"]}, "not below a folder"),
        ({"lr": 5}, "lr"),
        ({"backbone_weights": "/etc/hostname"}, "not below a folder"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    asked: dict[str, object], says: str, loop: TrainLoop
) -> None:
    with pytest.raises(InputError, match=says):
        submit(**asked)
    assert store.list_trainings() == []


def test_a_link_out_of_the_data_folder_is_not_followed(loop: TrainLoop, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (settings().home / "data" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="not below a folder"):
        checked_path(settings().home / "data" / "link")


def from_shell(**told: object) -> str:
    """A training as the shell leaves it: a folder without a row."""
    asked = TrainSettings(data=(settings().home / "data" / "mine",), steps=8, title="By hand")
    folder = run_dir.new_run_dir(asked)
    job_folder.write_status(folder, **told)
    return folder.name


def test_what_the_shell_started_is_there_too(loop: TrainLoop) -> None:
    row = submit(8)
    busy = from_shell(state="running", step=2, steps=8, pid=os.getpid())
    lost = from_shell(state="running", step=2, steps=8, pid=2**22 + 1)
    done = from_shell(state="done")
    found = {t.id: (t.name, t.status) for t in jobs.all_trainings()}
    assert found == {row: ("Mine", "queued"), busy: ("By hand", "running"), lost: ("By hand", "failed"),
                     done: ("By hand", "done")}  # fmt: skip
    assert jobs.training_progress(busy).step == 2
    assert jobs.find_training(lost).message == shell_trainings.GONE
    with pytest.raises(InputError, match="at work"):
        jobs.delete_training(busy)
    jobs.cancel_training(busy)
    assert job_folder.stop_requested(store.training_dir(busy))
    jobs.delete_training(done)
    assert not store.training_dir(done).exists()
    jobs.resume_training(lost)
    turn_until(loop, is_(row, "done"))
    turn_until(loop, is_(lost, "done"))
    for name in ("..", "../../etc", "a" * 40, "gone"):
        with pytest.raises(InputError, match="no such training"):
            jobs.find_training(name)


def test_settings_of_another_version_do_not_hold_up_the_queue(loop: TrainLoop) -> None:
    old = store.add_training("Old", {"model": "type7"}).id
    new = submit(4)
    turn_until(loop, is_(new, "done"))
    assert store.get_training(old).status == "failed"
    assert "model" in store.get_training(old).message


def test_a_process_that_cannot_be_started_is_tried_again(
    loop: TrainLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = submit(4)
    with monkeypatch.context() as patch:
        patch.setattr(processes.sys, "executable", "/nowhere/python")
        with pytest.raises(OSError, match="nowhere"):
            loop.turn()
    assert store.get_training(training).status == "queued"
    turn_until(loop, is_(training, "done"))
