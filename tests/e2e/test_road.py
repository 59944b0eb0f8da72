"""The road in a real browser: slide in, look, run, counts, reload, cancel; and files that are wrong."""

from __future__ import annotations

import csv
import hashlib
import signal
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from cmlcore import store
from cmlcore.jobs import resume_run
from cmlcore.ui.uploader import CHUNK_BYTES

from . import steps
from .conftest import PATIENT, Server

pytestmark = [pytest.mark.e2e, pytest.mark.weights]
ROI = (300, 250, 700, 560)


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    """What earlier steps of the road left: ids by name."""
    return {}


def test_a_slide_is_uploaded_and_shown(page: Page, home: Path, czi: Path, known: dict[str, str]) -> None:
    slide = steps.upload(page, czi)
    expect(page.get_by_role("button", name="Open", exact=True).first).to_be_enabled(timeout=120_000)
    thumbnail = page.locator(f"[src*='{slide}'], [style*='{slide}']").first
    expect(thumbnail).to_be_visible()
    row = store.get_slide(slide)
    assert Path(row.path).is_relative_to(home)
    assert digest(Path(row.path)) == digest(czi)

    steps.open_viewer(page, slide)
    assert page.locator(".cml-message").is_hidden()
    expect(page.locator(".cml-power")).to_contain_text("×")
    expect(page.locator(".cml-bar-text")).to_contain_text("µm")
    wait_picture(page)
    assert PATIENT.split()[0] not in page.content()
    known["slide"] = slide


def test_type_2_on_a_region_counts_what_the_csv_holds(page: Page, home: Path, known: dict[str, str]) -> None:
    steps.open_viewer(page, known["slide"], at="500,405,1.2")
    roi = steps.draw_rectangle(page, *ROI)
    np.testing.assert_allclose(roi, [[300, 250], [700, 250], [700, 560], [300, 560]], atol=3)
    run = steps.start_run(page, "Type 2", "Drawn regions")
    page.reload()  # mid-run or just done: the page finds the run by its URL alone
    total = steps.wait_cells(page)
    assert total > 20

    lines = page.request.get(f"/exports/{run}.csv").text().splitlines()
    rows = list(csv.DictReader(x for x in lines if not x.startswith("#")))
    assert len(rows) == total == store.get_run(run).cells
    named = [r["class"] for r in rows if r["class"] != "unidentified"]  # those are counted apart
    # .first: while the page is drawn anew, the old panel is there too
    panel = page.get_by_role("tabpanel", name="Cells").first
    expect(panel).to_contain_text(f"All cells{len(named)}", timeout=60_000)
    if len(named) < len(rows):
        expect(panel).to_contain_text(f"{len(rows) - len(named)} more are unidentified")
    for cls in set(named):
        shown = page.locator(".cml-class").filter(has_text=cls.capitalize()).locator(".cml-num")
        expect(shown).to_have_text(str(named.count(cls)))
    x0, y0, x1, y1 = ROI
    assert all(x0 - 4 <= float(r["x_px"]) <= x1 + 4 and y0 - 4 <= float(r["y_px"]) <= y1 + 4 for r in rows)
    cell = next(r["cell_id"] for r in rows if r["class"] != "unidentified")
    known |= {"roi_run": run, "cell": cell, "named": str(len(named))}


def test_a_click_tells_a_cells_facts(page: Page, home: Path, known: dict[str, str]) -> None:
    facts = page.request.get(f"/cells/{known['roi_run']}/{known['cell']}.json").json()
    x, y = facts["x_l0"], facts["y_l0"]
    steps.open_viewer(page, known["slide"], run=known["roi_run"], at=f"{x:.0f},{y:.0f},4")
    steps.wait_cells(page)
    box = page.locator(".cml-viewer").bounding_box()
    assert box is not None
    at = steps.viewer(page, f"v.screen({x}, {y})")
    page.mouse.click(box["x"] + at["x"], box["y"] + at["y"])
    panel = page.get_by_role("tabpanel", name="Cells").first
    expect(panel.locator(".cmlp-cell")).to_contain_text(facts["label"])
    expect(panel).to_contain_text(f"{facts['area_um2']:.1f}\u202fµm²")
    expect(panel.locator("dl")).to_contain_text(known["cell"])
    expect(page.locator(".cml-popover")).to_have_count(0)  # once is enough
    page.keyboard.press("Escape")
    expect(panel).to_contain_text("Click a cell")


def test_the_filter_works_without_the_server(page: Page, home: Path, known: dict[str, str]) -> None:
    steps.open_viewer(page, known["slide"], run=known["roi_run"], at="500,405,1.2")
    steps.wait_cells(page)
    total = int(known["named"])  # unidentified cells are hidden at first
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if "/overlay/" in r.url else None)
    erythrocytes = page.locator(".cml-class").filter(has_text="Erythrocyte")
    count = int(erythrocytes.locator(".cml-num").inner_text())
    erythrocytes.locator("input").uncheck()
    page.wait_for_function(
        "n => [...__cml.viewers.values()][0].cells.drawn === n", arg=total - count, timeout=10_000
    )
    erythrocytes.locator("input").check()
    page.wait_for_function("n => [...__cml.viewers.values()][0].cells.drawn === n", arg=total, timeout=10_000)
    assert asked == []


def test_the_position_lives_in_the_url(page: Page, home: Path, known: dict[str, str]) -> None:
    steps.open_viewer(page, known["slide"], at="1500,1200,0.8")
    assert steps.viewer(page, "v.position") == pytest.approx([1500, 1200, 0.8], rel=0.01)
    steps.viewer(page, "v.look(2000, 900, 1.5)")
    page.wait_for_url("**at=2000,900,1.5**", timeout=10_000)
    page.reload()
    steps.wait_loaded(page)
    assert steps.viewer(page, "v.position") == pytest.approx([2000, 900, 1.5], rel=0.01)


def test_a_reload_finds_the_run_again_and_cancel_ends_it(
    page: Page, home: Path, known: dict[str, str]
) -> None:
    steps.open_viewer(page, known["slide"])
    run = steps.start_run(page, "Type 2", "Whole scene")
    steps.expect_progress(page, run)
    page.reload()
    steps.expect_progress(page, run)
    page.locator(f".st-key-progress-{run}").get_by_role("button", name="Cancel").click()
    expect(page.locator(f".st-key-progress-{run}")).to_have_count(0, timeout=60_000)
    row = store.get_run(run)
    assert row.status == "cancelled"
    assert row.blocks_done < max(row.blocks_total, 1)
    known["cancelled"] = run


def test_a_killed_server_goes_on_where_it_was(
    page: Page, server: Server, home: Path, known: dict[str, str]
) -> None:
    resume_run(known["cancelled"])
    steps.wait_for(lambda: blocks_done(known["cancelled"]) >= 1)
    server.stop(signal.SIGKILL)
    before = blocks_done(known["cancelled"])
    server.start()
    steps.open_viewer(page, known["slide"], run=known["cancelled"])
    steps.wait_for(lambda: blocks_done(known["cancelled"]) > before)
    assert store.get_run(known["cancelled"]).status == "running"
    page.locator(f".st-key-progress-{known['cancelled']}").get_by_role("button", name="Cancel").click()
    steps.wait_for(lambda: store.get_run(known["cancelled"]).status == "cancelled")


def test_two_runs_side_by_side_move_together(page: Page, home: Path, known: dict[str, str]) -> None:
    page.goto(f"/compare?slide={known['slide']}&a={known['roi_run']}&b={known['cancelled']}")
    steps.wait_loaded(page, 2)
    box = page.locator(".cml-viewer").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    for _ in range(4):
        page.mouse.wheel(0, -240)
        page.wait_for_timeout(120)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 260, steps=6)
    page.mouse.up()
    page.wait_for_timeout(1500)
    left, right = steps.viewer(page, "v.position", 0), steps.viewer(page, "v.position", 1)
    assert left == pytest.approx(right, rel=1e-6)
    assert left[2] > 0.3
    steps.wait_loaded(page, 2)


def test_wrong_files_are_refused_in_a_sentence(page: Page, home: Path, tmp_path: Path) -> None:
    before = {s.id for s in store.list_slides()}
    letter, empty = tmp_path / "letter.czi", tmp_path / "empty.czi"
    letter.write_bytes(b"%PDF-1.7 " + bytes(5000))
    empty.write_bytes(b"")
    steps.choose_files(page, letter, empty)
    rows = page.locator(".cml-transfer")
    expect(rows.filter(has_text="letter.czi")).to_contain_text("none of the slide formats")
    expect(rows.filter(has_text="empty.czi")).to_contain_text("The file is empty")
    assert {s.id for s in store.list_slides()} == before
    assert not any((home / "uploads").glob("*/data"))


def test_a_cut_upload_goes_on_where_it_stopped(page: Page, home: Path, czi: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.czi"
    long.write_bytes(czi.read_bytes().ljust(CHUNK_BYTES + (1 << 20), b"\0"))  # two chunks
    cuts: list[str] = []

    def cut_the_second(route: Route) -> None:
        if route.request.method == "PATCH" and route.request.headers["upload-offset"] != "0":
            cuts.append(route.request.headers["upload-offset"])
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/uploads/*", cut_the_second)
    page.on("dialog", lambda dialog: dialog.accept())  # “leave the page while an upload runs?”
    steps.choose_files(page, long)
    for _ in range(600):
        page.wait_for_timeout(200)
        if cuts:
            break
    page.reload()
    page.unroute("**/uploads/*")
    offsets: list[str] = []
    page.on(
        "request",
        lambda r: offsets.append(r.headers["upload-offset"]) if r.method == "PATCH" else None,
    )
    with page.expect_response(lambda r: "x-slide-id" in r.headers, timeout=120_000) as arrived:
        steps.choose_files(page, long, here=True)
    assert offsets == [str(CHUNK_BYTES)] == cuts[:1]
    slide = store.get_slide(arrived.value.headers["x-slide-id"])
    assert digest(Path(slide.path)) == digest(long)


def blocks_done(run: str) -> int:
    row = store.get_run(run)
    assert row.status != "failed", row.message
    return row.blocks_done


def digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def wait_picture(page: Page) -> None:
    """Wait until the canvas shows many colours: tiles are drawn in the frames after they have come."""
    page.wait_for_function(
        """() => {
          const canvas = document.querySelector(".cml-stage .openseadragon-canvas canvas");
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          const seen = new Set();
          for (let i = 0; i < data.length; i += 4001 * 4) seen.add(data.slice(i, i + 3).join());
          return seen.size > 20;
        }"""
    )
