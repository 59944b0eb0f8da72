"""Runs from the row to the report, worked by a service in a process of its own: finished, cancelled, killed,
resumed, failed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from jobs_oracle import MODEL, MPP, PLACES, tell_oracle
from jobs_server import Server

from cmlcore import jobs, store
from cmlcore.cells import CellTable, finished_blocks
from cmlcore.geometry import Mpp
from cmlcore.jobs import Progress, progress
from cmlcore.report import csv_stream

PATIENCE_S = 300.0  # only ever waited out when something is wrong
CANCEL_S = 2.0  # promised to the user; the machine that tests may be ten times slower


def wait(run_id: str, until: Callable[[Progress], bool]) -> Progress:
    """Ask until it is so."""
    end = time.monotonic() + PATIENCE_S
    while not until(seen := progress(run_id)):
        assert time.monotonic() < end, f"waited in vain: {seen}"
        time.sleep(0.05)
    return seen


def over(p: Progress) -> bool:
    return not p.active


def some_done(p: Progress) -> bool:
    return p.done > 0


def submit() -> str:
    return jobs.submit_run(store.list_slides()[0].id, 0, None, MODEL)


def csv_of(folder: Path, manifest: dict[str, object]) -> bytes:
    return b"".join(csv_stream(manifest, CellTable(folder)))


@pytest.fixture(scope="module")
def reference() -> dict[str, bytes]:
    """What the first run gave: every later one must give the same."""
    return {}


def assert_complete(run_id: str, reference: dict[str, bytes]) -> None:
    seen = wait(run_id, over)
    assert (seen.status, seen.stage, seen.fraction, seen.message) == ("done", "finished", 1.0, "")
    assert seen.done == seen.total == len(finished_blocks(jobs.run_dir(run_id)))
    assert list(jobs.run_dir(run_id).rglob("*.part")) == []
    data = csv_of(jobs.run_dir(run_id), jobs.run_manifest(run_id))
    assert reference.setdefault("csv", data) == data


def test_page_and_shell_give_the_same_bytes(
    server: list[Server], smear: Path, tmp_path: Path, reference: dict[str, bytes]
) -> None:
    run = submit()
    assert_complete(run, reference)
    seen, manifest, row = progress(run), jobs.run_manifest(run), store.get_run(run)
    assert seen.cells == len(PLACES)
    assert seen.empty > 0
    assert row.summary is not None
    assert row.summary["cells"] == len(PLACES)
    assert row.started_at is not None
    assert row.finished_at is not None
    assert row.finished_at >= row.started_at

    told: list[Progress] = []
    local = jobs.segment_local(smear, MODEL, tmp_path / "out", mpp=Mpp(MPP, MPP), progress=told.append)
    assert csv_of(tmp_path / "out", local) == reference["csv"]
    assert [p.fraction for p in told] == sorted(p.fraction for p in told)
    assert (told[0].stage, told[-1].stage, told[-1].fraction) == ("opening", "finished", 1.0)
    asked = set(manifest) - {"run_id", "started", "finished", "worked_s", "stage_s", "mm2_per_s"}
    assert {k: manifest[k] for k in asked} == {k: local[k] for k in asked}


def test_no_identity_of_the_file_leaves(server: list[Server]) -> None:
    done = store.list_runs(None, "done")[0]
    text = repr(done.manifest) + repr(done.summary)
    assert "DOE" not in text
    assert store.list_slides()[0].id not in text  # the content's hash instead: the shell knows no other


def test_no_port_is_open_to_other_machines(server: list[Server]) -> None:
    open_at = server[-1].listening()
    assert open_at
    assert {ip for ip, _ in open_at} == {"127.0.0.1"}


def test_a_worker_that_is_killed_is_replaced(server: list[Server], reference: dict[str, bytes]) -> None:
    tell_oracle(delay_s=0.1)
    run = submit()
    wait(run, some_done)
    before = server[-1].workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    tell_oracle()
    assert_complete(run, reference)
    after = server[-1].workers()
    assert after
    assert not before & after


def test_cancel_frees_a_worker_that_does_not_listen_and_the_run_goes_on_later(
    server: list[Server], reference: dict[str, bytes]
) -> None:
    tell_oracle(delay_s=0.05)
    run = submit()
    wait(run, some_done)
    tell_oracle(delay_s=100 * CANCEL_S)  # in one go: no look at the flag for a long time
    before = server[-1].workers()
    time.sleep(0.5)
    jobs.cancel_run(run)
    seen = wait(run, over)
    assert seen.status == "cancelled"
    assert "resumed" in seen.message
    assert not before & server[-1].workers()
    kept = finished_blocks(jobs.run_dir(run))
    assert 0 < len(kept) < seen.total
    changed = {b: (jobs.run_dir(run) / "parts" / f"{b:08d}.parquet").stat().st_mtime_ns for b in kept}

    tell_oracle()
    jobs.resume_run(run)
    assert_complete(run, reference)
    for b, mtime in changed.items():  # finished blocks were not worked again
        assert (jobs.run_dir(run) / "parts" / f"{b:08d}.parquet").stat().st_mtime_ns == mtime


def test_cancel_heeded_between_tiles_spares_the_worker(server: list[Server]) -> None:
    tell_oracle(delay_s=0.2)
    run = submit()
    wait(run, some_done)
    before = server[-1].workers()
    jobs.cancel_run(run)
    assert wait(run, over).status == "cancelled"
    assert server[-1].workers() == before


def test_two_runs_take_turns(server: list[Server], reference: dict[str, bytes]) -> None:
    tell_oracle(delay_s=1.0)  # 77 blocks: over a minute, in batches of three
    long = submit()
    wait(long, some_done)
    short = jobs.submit_run(store.list_slides()[0].id, 0, [[[0, 0], [90, 0], [90, 90], [0, 90]]], MODEL)
    assert wait(short, over).status == "done"
    assert progress(long).active  # the short one did not wait for the long one's end
    tell_oracle()
    assert_complete(long, reference)
    assert 0 < progress(short).cells < 20


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("ENOSPC", "disk is full"),
        ("OutOfMemoryError", "not enough memory"),
        ("ZeroDivisionError", "ZeroDivisionError"),
        ("SIGKILL", "worker died several times"),
    ],
)
def test_a_failure_is_a_sentence_and_the_run_can_go_on(
    server: list[Server], reference: dict[str, bytes], what: str, sentence: str
) -> None:
    tell_oracle(**{"raise": what})
    run = submit()
    seen = wait(run, over)
    assert seen.status == "failed"
    assert sentence in seen.message
    assert list(jobs.run_dir(run).rglob("*.part")) == []
    tell_oracle()
    jobs.resume_run(run)
    assert_complete(run, reference)


def test_weights_that_changed_since_are_refused(server: list[Server]) -> None:
    run = submit()
    store.update_run(run, model_sha256="0" * 64)
    seen = wait(run, over)
    assert seen.status == "failed"
    assert "start a new run" in seen.message


def test_a_slide_with_a_run_at_work_is_deleted_by_the_service(server: list[Server], smear: Path) -> None:
    slide = jobs.intake_slide(smear, in_place=True)
    end = time.monotonic() + PATIENCE_S
    while store.get_slide(slide).status != "ready":
        assert time.monotonic() < end
        time.sleep(0.05)
    store.set_mpp(slide, Mpp(MPP, MPP))
    tell_oracle(delay_s=0.2)
    run = jobs.submit_run(slide, 0, None, MODEL)
    wait(run, some_done)
    jobs.delete_slide(slide)
    while slide in {s.id for s in store.list_slides()}:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert not jobs.run_dir(run).exists()
    assert smear.exists()


def test_a_killed_server_leaves_no_process_and_the_next_goes_on(
    server: list[Server], reference: dict[str, bytes]
) -> None:
    tell_oracle(delay_s=0.1)
    run = submit()
    wait(run, some_done)
    family = server[-1].kill()
    assert family
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
    seen = progress(run)
    assert seen.status == "running"  # nobody was left to say otherwise
    kept = len(finished_blocks(jobs.run_dir(run)))
    assert 0 < kept < seen.total
    tell_oracle()
    server.append(Server())
    assert_complete(run, reference)
