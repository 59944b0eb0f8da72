"""A training in a real browser: asked for, watched, reloaded, cancelled, resumed, done."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from cmlcore import job_folder, store
from cmlcore.training import run_dir

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from drawn_training_set import MPP, draw_set

from .steps import LONG_MS, wait_for

pytestmark = pytest.mark.e2e
STEPS, MINUTES = 150, 3  # the first that is spent: seconds on a free machine, not hours on a busy one


def test_a_training_from_the_page_to_the_model(page: Page, home: Path) -> None:
    draw_set(home / "data" / "drawn")
    page.set_default_timeout(120_000)  # a training at work beside the server makes all of it slow
    page.goto("/train")
    page.get_by_role("button", name="New training").click()
    page.wait_for_url("**/train?training=new")
    fill_the_form(page)
    page.get_by_role("button", name="Count the cells").click()
    table = page.locator(".cmlp-table")
    expect(table).to_contain_text("Erythrocyte", timeout=LONG_MS)
    expect(table.locator("tr").last).to_contain_text("54")  # 6 images of 9 cells
    page.get_by_role("button", name="Start training").click()

    page.wait_for_url(re.compile(r"training=(?!new)"), timeout=120_000)
    training = page.url.rpartition("=")[2]
    panel = page.locator(f".st-key-training-{training}")
    expect(panel).to_be_visible(timeout=120_000)
    wait_for(lambda: has_curves(training, "val"))
    expect(page.locator(f".st-key-loss-{training} .js-plotly-plot")).to_be_visible(timeout=120_000)
    expect(page.locator(f".st-key-map-{training} .js-plotly-plot")).to_be_visible(timeout=120_000)
    expect(panel).to_contain_text(re.compile(r"step \d+ of 150"), timeout=120_000)
    page.reload()
    expect(panel).to_contain_text(re.compile(r"step \d+ of 150"), timeout=120_000)

    panel.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible(timeout=LONG_MS)
    assert store.get_training(training).status == "cancelled"
    stood = job_folder.read_status(store.training_dir(training))["step"]
    assert 0 < stood < STEPS
    assert store.get_training(training).settings["epochs"] is None
    expect(page.locator(f".st-key-loss-{training} .js-plotly-plot")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(panel).to_be_visible(timeout=120_000)
    wait_for(lambda: store.get_training(training).status == "done")
    expect(page.get_by_role("link", name="Evaluate it")).to_be_visible(timeout=120_000)
    steps = [e["step"] for e in run_dir.read_curves(store.training_dir(training)) if e["split"] == "val"]
    assert steps == sorted(set(steps))
    assert steps[-1] > stood

    page.get_by_role("link", name="The model").click()
    expect(page.get_by_role("heading", name="Drawn cells").first).to_be_visible(timeout=120_000)
    page.goto("/train")
    expect(page.get_by_test_id("stDataFrame")).to_be_visible(timeout=120_000)


def fill_the_form(page: Page) -> None:
    """The smallest network on the drawn cells, a few steps."""
    choose(page, "Recipe", "Erythrocyte, leukocyte (50 epochs")
    choose(page, "Sets of labelled images", "drawn (masks)")
    page.keyboard.press("Escape")
    number(page, "µm per pixel of images", str(MPP))
    number(page, "Epochs", "")
    number(page, "Steps", str(STEPS))
    number(page, "Minutes", str(MINUTES))
    page.get_by_text("Start and backbone", exact=True).click()
    page.locator("label").filter(has_text="From scratch").click()
    settled(page)  # a list opened while the page is drawn anew closes again
    choose(page, "Backbone", "vit_tiny_patch16_224")
    page.get_by_text("Validation and checkpoints", exact=True).click()
    number(page, "Validate every (steps)", "4")
    page.get_by_text("Machine", exact=True).click()
    number(page, "Loader processes", "0")
    number(page, "Threads", "1")
    page.get_by_text("The resulting model", exact=True).click()
    page.get_by_role("textbox", name="Title of the model").fill("Drawn cells")
    page.keyboard.press("Enter")
    settled(page)


def choose(page: Page, box: str, option: str) -> None:
    page.get_by_role("combobox", name=box).click()
    page.get_by_role("option", name=option).first.click()
    settled(page)


def number(page: Page, name: str, value: str) -> None:
    field = page.get_by_role("spinbutton", name=name, exact=True)
    field.fill(value)
    field.press("Enter")
    settled(page)


def settled(page: Page) -> None:
    """Wait until the page's script has run after a change."""
    page.wait_for_timeout(300)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=120_000)


def has_curves(training: str, split: str) -> bool:
    row = store.get_training(training)
    assert row.status != "failed", row.message
    return any(e["split"] == split for e in run_dir.read_curves(store.training_dir(training)))
