"""What a person does, in the words of the page; shared by the browser tests."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

LONG_MS = 600_000  # a run on a busy machine
_VIEWERS = "[...(window.__cml?.viewers.values() ?? [])]"


def choose_files(page: Page, *paths: Path, here: bool = False) -> None:
    """Choose files in the uploader of the slides page; ``here``: the page is open already."""
    if not here:
        page.goto("/")
    chooser = page.locator(".cml-uploader input[type=file]")
    page.get_by_text("Add slides", exact=True).first.wait_for(timeout=60_000)
    page.wait_for_timeout(1500)  # the expander opens by itself where there is no slide yet
    if chooser.count() == 0:
        page.get_by_text("Add slides", exact=True).first.click()
    chooser.set_input_files(list(paths), timeout=60_000)


def upload(page: Page, path: Path) -> str:
    """Upload a slide; returns its id."""
    with page.expect_response(lambda r: "x-slide-id" in r.headers, timeout=120_000) as arrived:
        choose_files(page, path)
    return arrived.value.headers["x-slide-id"]


def open_viewer(page: Page, slide: str, **query: str) -> None:
    """Go to a slide's viewer and wait until all its tiles are there."""
    more = "".join(f"&{k}={v}" for k, v in query.items())
    page.goto(f"/viewer?slide={slide}{more}")
    wait_loaded(page)


def wait_loaded(page: Page, count: int = 1) -> None:
    """Wait until so many viewers show every tile of their view."""
    page.wait_for_function(f"n => {{ const v = {_VIEWERS}; return v.length >= n && v.every(x => x.loaded) }}",
                           arg=count, timeout=90_000)  # fmt: skip


def viewer(page: Page, expression: str, index: int = 0) -> Any:
    """Evaluate ``v => expression`` for a viewer of the page."""
    return page.evaluate(f"(v => {expression})({_VIEWERS}[{index}])")


def draw_rectangle(page: Page, x0: int, y0: int, x1: int, y1: int) -> list[list[float]]:
    """Draw a rectangle between two level-0 points; returns the region's corners as the viewer has them."""
    box = page.locator(".cml-viewer").bounding_box()
    assert box is not None
    a, b = viewer(page, f"v.screen({x0}, {y0})"), viewer(page, f"v.screen({x1}, {y1})")
    page.get_by_role("button", name="Draw a rectangle").click()
    page.mouse.move(box["x"] + a["x"] + 1, box["y"] + a["y"] + 1)
    page.mouse.down()
    page.mouse.move(box["x"] + b["x"] + 1, box["y"] + b["y"] + 1, steps=6)
    page.mouse.up()
    regions = viewer(page, "v.rois")
    assert len(regions) == 1
    return list(regions[0])


def start_run(page: Page, model: str, region: str) -> str:
    """Choose model and region, press the button; returns the run's id, which is in the URL from then on."""
    if page.get_by_role("button", name="Outline and name the cells").count() == 0:
        page.get_by_role("tab", name="Segment").click()
    page.locator("label").filter(has_text=re.compile(f"^{model}")).first.click()
    page.locator("[data-testid=stButtonGroup]").get_by_text(re.compile(f"^{region}")).first.click()
    before = page.url
    page.get_by_role("button", name="Outline and name the cells").click()
    page.wait_for_url(lambda url: _run(url) not in (None, "none", _run(before)), timeout=60_000)
    run = _run(page.url)
    assert run is not None
    return run


def _run(url: str) -> str | None:
    found = re.search(r"[?&]run=([^&]+)", url)
    return found.group(1) if found else None


def wait_cells(page: Page) -> int:
    """Wait until the viewer draws the cells of a run; returns how many the run has."""
    there = "v.loaded && v.cells?.settled && v.cells.drawn > 0 && !v.cells.growing"
    page.wait_for_function(f"() => {_VIEWERS}.some(v => {there})", timeout=LONG_MS)
    return int(viewer(page, "v.cells.total"))


def expect_progress(page: Page, run: str) -> None:
    """The panel of a run at work is on the page."""
    expect(page.locator(f".st-key-progress-{run}")).to_be_visible(timeout=60_000)


def taken(page: Page, button: Locator) -> Path:
    """Press a button or link and give the file that comes."""
    with page.expect_download() as download:
        button.first.click()  # while a part is drawn anew, its old self may stand beside it
    return Path(download.value.path())


def wait_for(condition: Callable[[], bool], timeout_s: float = 600.0) -> None:
    """Wait until something has come about on the server."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)
