"""What may be asked of runs, and what is answered when it may not."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from jobs_oracle import MODEL, MPP

from cmlcore import jobs, store
from cmlcore.errors import InputError, ModelError, MppUnknownError, RunError
from cmlcore.geometry import Mpp
from cmlcore.jobs import holding
from cmlcore.jobs.loop import RunLoop, requeue
from cmlcore.jobs.progress import SPAN, progress_of
from cmlcore.jobs.service import JobService, _recover
from cmlcore.segmentation import SegmentSettings
from cmlcore.settings import settings
from cmlcore.slides.facts import info_to_json
from cmlcore.store.tables import now

WHOLE = [[[0, 0], [1000, 0], [1000, 800], [0, 800]]]


def test_everything_a_run_depends_on_is_written_down(slide: str) -> None:
    run = store.get_run(jobs.submit_run(slide, 0, WHOLE, MODEL, {"margin_px": 8}))
    assert (run.status, run.stage, run.rois) == ("queued", "waiting", WHOLE)
    assert (run.mpp_x, run.mpp_y, run.mpp_is_estimate) == (MPP, MPP, False)
    assert len(run.model_sha256) == 64
    assert run.settings == SegmentSettings(min_score=0.3, margin_px=8).model_dump()
    store.set_mpp(slide, Mpp(0.5, 0.5), is_estimate=True)
    assert store.get_run(run.id).mpp_x == MPP  # a later correction does not change an earlier run
    assert store.get_run(
        jobs.submit_run(slide, 0, None, MODEL, SegmentSettings(min_score=0.1))
    ).mpp_is_estimate


def test_a_slide_without_pixel_size_asks_for_it(slide: str) -> None:
    store.set_mpp(slide, None)
    with pytest.raises(MppUnknownError, match="µm per pixel"):
        jobs.submit_run(slide, 0, None, MODEL)


@pytest.mark.parametrize("kind", ["fluorescence", "grey"])
def test_only_brightfield_is_segmented(slide: str, kind: str) -> None:
    info = store.get_slide(slide).info
    assert info is not None
    store.update_slide(slide, facts=info_to_json(replace(info, kind=kind)))
    with pytest.raises(InputError, match=kind):
        jobs.submit_run(slide, 0, None, MODEL)


def test_unknown_slide_scene_and_setting(slide: str) -> None:
    with pytest.raises(InputError, match="no such slide"):
        jobs.submit_run("nope", 0, None, MODEL)
    with pytest.raises(InputError, match="no scene 2"):
        jobs.submit_run(slide, 1, None, MODEL)
    with pytest.raises(InputError, match="min_score"):
        jobs.submit_run(slide, 0, None, MODEL, {"min_score": 7})
    with pytest.raises(InputError, match="setting"):
        jobs.submit_run(slide, 0, None, MODEL, {"colour": "red"})
    assert store.list_runs() == []


def test_a_slide_still_being_checked_waits(slide: str) -> None:
    store.update_slide(slide, status="checking")
    with pytest.raises(InputError, match="still being checked"):
        jobs.submit_run(slide, 0, None, MODEL)


def test_a_missing_model_or_weight_file_is_named(slide: str, home: Path) -> None:
    with pytest.raises(ModelError, match="nonesuch"):
        jobs.submit_run(slide, 0, None, "nonesuch")
    (home / "models" / f"{MODEL}.safetensors").unlink()
    with pytest.raises(ModelError, match=r"oracle\.safetensors"):
        jobs.submit_run(slide, 0, None, MODEL)


@pytest.mark.parametrize(
    ("rois", "said"),
    [
        ([], "Draw between"),
        ([[[0, 0], [1, 1]]], "needs 3"),
        ([[[0, 0], [9, 9], [9, 0], [0, 9]]], "crosses itself"),
        ([[[0, 0], [5, 5], [9, 9]]], "crosses itself or is empty"),
        ([[[0, 0], [float("nan"), 5], [9, 9]]], "needs 3"),
        ([[[2000, 0], [2100, 0], [2100, 90]]], "outside"),
        ([*WHOLE, [[-9, -9], [-1, -9], [-1, -1]]], "Region 2 lies outside"),
    ],
)
def test_a_region_that_is_none_is_refused(slide: str, rois: list[list[list[float]]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        jobs.submit_run(slide, 0, rois, MODEL)


def test_a_region_is_cut_to_the_scene(slide: str) -> None:
    from shapely import Polygon

    run = jobs.submit_run(slide, 0, [[[900, 700], [1100, 700], [1100, 900], [900, 900], [900, 700]]], MODEL)
    rois = jobs.run_rois(run)
    assert rois is not None
    assert [Polygon(p).bounds for p in rois] == [(900, 700, 1000, 800)]


def test_cancelling_resuming_and_deleting_a_run_that_waits(slide: str) -> None:
    run = jobs.submit_run(slide, 0, None, MODEL)
    with pytest.raises(InputError, match="still at work"):
        jobs.delete_run(run)
    with pytest.raises(InputError, match="only a failed or cancelled"):
        jobs.resume_run(run)
    with pytest.raises(InputError, match="not finished"):
        jobs.run_manifest(run)
    jobs.cancel_run(run)
    assert jobs.progress(run).status == "cancelled"
    jobs.cancel_run(run)  # harmless
    jobs.resume_run(run)
    assert (jobs.progress(run).status, jobs.progress(run).message) == ("queued", "")
    jobs.cancel_run(run)
    jobs.delete_run(run)
    assert store.list_runs() == []


def test_deleting_a_slide_cancels_what_waits(slide: str) -> None:
    jobs.submit_run(slide, 0, None, MODEL)
    jobs.delete_slide(slide)
    assert store.list_slides() == []


def test_after_a_crash_runs_wait_again_and_cancelled_ones_are_cancelled(slide: str) -> None:
    lost, unwanted = (jobs.submit_run(slide, 0, None, MODEL) for _ in range(2))
    for run in (lost, unwanted):
        store.update_run(run, status="running", stage="segmenting")
    jobs.cancel_run(unwanted)
    _recover()
    RunLoop()._heed_cancels()
    assert [jobs.progress(r).status for r in (lost, unwanted)] == ["queued", "cancelled"]


def test_a_run_is_taken_by_one_service_only(slide: str) -> None:
    run = jobs.submit_run(slide, 0, None, MODEL)
    assert store.update_run(run, only=("queued",), status="running")
    assert not store.update_run(run, only=("queued",), status="running")
    requeue(run)
    jobs.cancel_run(run)
    requeue(run)  # too late: it stays cancelled
    assert jobs.progress(run).status == "cancelled"


def test_a_second_service_on_the_same_folder_stays_idle(home: Path) -> None:
    import fcntl

    with (home / "jobs.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with JobService() as idle:
            assert not [t for t in idle._threads if t.name == "slides"]
        assert idle._threads == []  # and stops at once, without having had the lock


def test_a_scheduler_that_does_not_answer_is_said_in_the_row(
    slide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cmlcore.jobs import engine

    monkeypatch.setattr(engine, "CONNECT_S", 0.5)
    monkeypatch.setenv("CML_DASK", "tcp://127.0.0.1:9")
    settings.cache_clear()
    run = jobs.submit_run(slide, 0, None, MODEL)
    with pytest.raises(RunError, match="CML_DASK"):
        RunLoop().turn()
    assert "does not answer" in jobs.progress(run).message
    assert jobs.progress(run).status == "queued"


def test_progress_spans_all_stages_in_order() -> None:
    ends = [end for _, end in SPAN.values()]
    assert ends == sorted(ends)
    assert [begin for begin, _ in SPAN.values()][2:5] == ends[1:4]


def test_time_left_runs_down_between_ticks_and_is_not_told_when_stale(slide: str) -> None:
    run = jobs.submit_run(slide, 0, None, MODEL)
    row = store.get_run(run)
    row.status, row.stage, row.stage_fraction, row.eta_s = "running", "segmenting", 0.5, 100.0
    row.heartbeat_at = now() - timedelta(seconds=10)
    seen = progress_of(row)
    assert seen.eta_s is not None
    assert 85 < seen.eta_s <= 90
    assert seen.fraction == pytest.approx((0.06 + 0.97) / 2)
    row.heartbeat_at = now() - timedelta(seconds=100)
    assert progress_of(row).eta_s is None


def test_a_queued_run_knows_how_many_are_before_it(slide: str) -> None:
    runs = [jobs.submit_run(slide, 0, None, MODEL) for _ in range(3)]
    store.update_run(runs[0], status="running")
    assert [jobs.progress(r).ahead for r in runs] == [0, 1, 2]


def test_the_device_is_read_not_asked_and_speed_is_noted(home: Path) -> None:
    from cmlcore.jobs.device import note_speed

    assert jobs.device_report().name == "CPU (oracle)"
    note_speed("CPU (oracle)", 0.5, "type2")
    assert (jobs.device_report().mm2_per_s, jobs.device_report().model) == (0.5, "type2")
    (home / "device.json").write_text(json.dumps({"torn": 1}))
    assert jobs.device_report().kind == "unknown"


def test_the_shells_road_refuses_what_the_page_refuses(smear: Path, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(MppUnknownError):
        jobs.segment_local(smear, MODEL, out)
    with pytest.raises(ModelError):
        jobs.segment_local(smear, "nonesuch", out)
    with pytest.raises(InputError):
        jobs.segment_local(smear, MODEL, out, scene=3, mpp=Mpp(MPP, MPP))
    assert not out.exists()
    assert not holding._readers


def test_the_shell_goes_on_where_it_broke_off_and_mixes_nothing(
    smear: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, mpp = tmp_path / "out", Mpp(MPP, MPP)
    seen: list[int] = []

    def break_off(p: jobs.Progress) -> None:
        seen.append(p.done)
        if p.done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.segment_local(smear, MODEL, out, mpp=mpp, progress=break_off)
    kept = {p.name: p.stat().st_mtime_ns for p in (out / "parts").iterdir()}
    assert kept
    with pytest.raises(InputError, match="another run"):
        jobs.segment_local(smear, MODEL, out, mpp=mpp, settings={"min_score": 0.9})
    manifest = jobs.segment_local(smear, MODEL, out, mpp=mpp)
    assert {n: (out / "parts" / n).stat().st_mtime_ns for n in kept} == kept
    assert manifest["blocks"]["total"] == len(list((out / "parts").iterdir()))


def test_bare_glass_gives_an_empty_report(home: Path, tmp_path: Path) -> None:
    import cv2
    import numpy as np

    from cmlcore.cells import CellTable
    from cmlcore.report import csv_stream

    path = tmp_path / "glass.png"
    glass = np.random.default_rng(0).integers(230, 236, (800, 1000, 3), dtype=np.uint8)
    cv2.imwrite(str(path), glass)
    manifest = jobs.segment_local(path, MODEL, tmp_path / "out", mpp=Mpp(MPP, MPP))
    assert (manifest["cells"], manifest["blocks"]["total"]) == (0, 0)
    lines = b"".join(csv_stream(manifest, CellTable(tmp_path / "out"))).decode().splitlines()
    assert lines[-1].startswith("cell_id,")
