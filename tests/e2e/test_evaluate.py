"""Evaluate in a real browser: a drawn ground truth, the shipped model, figures, files, reload, two."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import pytest
from playwright.sync_api import Page, expect

from cmlcore import RESEARCH_USE
from cmlcore.demo import Smear, draw_smear, write_truth
from cmlcore.demo.smear import WARM
from cmlcore.evaluation import stored
from cmlcore.evaluation.result import Evaluation
from cmlcore.geometry import Size
from cmlcore.jobs.evaluate import EVALUATIONS

from .steps import LONG_MS, taken

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.usefixtures("patience")]
IMAGES = 3


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    """What earlier steps left: ids by name."""
    return {}


@pytest.fixture
def truth(home: Path) -> int:
    """A set of drawn fields with their outlines in the server's data folder; how many cells it has."""
    folder = home / "data" / "drawn fields"
    smear = Smear(Size(480, 360), WARM, {"neutrophil": 1, "lymphocyte": 1}, leukocytes_per_mm2=400)
    cells = 0
    (folder / "val").mkdir(parents=True, exist_ok=True)
    for i in range(IMAGES):
        picture, drawn = draw_smear(smear, seed=20 + i)
        assert cv2.imwrite(str(folder / "val" / f"field{i}.png"), picture[..., ::-1])
        write_truth(folder / "val" / f"field{i}.geojson", drawn)
        cells += len(drawn)
    (folder / "dataset.json").write_text(json.dumps({"mpp": smear.mpp, "source": "drawn"}))
    many = home / "data" / "many fields"  # enough of them that their judging can be cancelled in time
    (many / "val").mkdir(parents=True, exist_ok=True)
    for path in sorted((folder / "val").iterdir()):
        for i in range(8):
            shutil.copy(path, many / "val" / f"{path.stem}-{i}{path.suffix}")
    shutil.copy(folder / "dataset.json", many)
    return cells


def test_an_evaluation_is_started_and_its_figures_stand_on_the_page(
    page: Page, home: Path, truth: int, known: dict[str, str]
) -> None:
    ask(page)
    choose(page, "Model", re.compile("^Type 2"))
    choose(page, "Ground truth", re.compile("^drawn fields$"))
    page.get_by_role("button", name="Evaluate", exact=True).click()
    page.wait_for_url(re.compile("evaluation=[a-z0-9]+"))
    known["first"] = re.findall("evaluation=([a-z0-9]+)", page.url)[0]
    page.reload()  # at work or just done: the job goes on by itself
    expect(page.get_by_role("heading", name="By class")).to_be_visible(timeout=LONG_MS)

    found = stored.load(known["first"])
    assert len(found.images) == IMAGES
    assert sum(n or 0 for row in found.images for n in row.true.values()) == truth
    assert found.shapes["mask"].map50.value > 0.5  # a drawing, but a model that saw cells finds them
    expect(page.locator(".cmlp-figures")).to_contain_text(f"{found.shapes['box'].map50.value:.3f}")
    expect(page.locator(".js-plotly-plot")).to_have_count(8)
    expect(page.get_by_text(RESEARCH_USE, exact=True).first).to_be_visible()
    for confused in ("Missed", "Invented"):
        expect(page.locator(".js-plotly-plot").first).to_contain_text(confused)


def test_everything_can_be_taken_away(page: Page, home: Path, known: dict[str, str]) -> None:
    page.goto(f"/evaluate?evaluation={known['first']}")
    expect(page.locator(".js-plotly-plot")).to_have_count(8)
    told = taken(page, page.locator(f".st-key-json-{known['first']} button")).read_text()
    assert Evaluation.from_json(json.loads(told)) == stored.load(known["first"])
    table = taken(page, page.locator(f".st-key-csv-{known['first']}-figures button")).read_text()
    assert RESEARCH_USE in table
    assert "map50" in table or "ap50" in table


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_on_a_small_screen(page: Page, known: dict[str, str], scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(f"/evaluate?evaluation={known['first']}")
    expect(page.locator(".js-plotly-plot")).to_have_count(8)
    frame = page.locator("[data-testid=stMain]")
    assert frame.evaluate("e => e.scrollWidth - e.clientWidth") == 0


def test_a_second_one_is_cancelled_and_started_again(page: Page, home: Path, known: dict[str, str]) -> None:
    ask(page)
    choose(page, "Model", re.compile("^Type 1"))
    choose(page, "Ground truth", re.compile("^many fields$"))
    page.get_by_role("button", name="Evaluate", exact=True).click()
    page.locator("[class*='st-key-cancel-'] button").first.click()
    second = re.findall("evaluation=([a-z0-9]+)", page.url)[0]
    assert second != known["first"]  # the page stays with the one just asked for
    page.get_by_role("button", name="Start again").click(timeout=LONG_MS)  # no reload
    page.locator("[class*='st-key-cancel-'] button").first.wait_for()
    assert EVALUATIONS.get(second).state in ("waiting", "running")
    expect(page.get_by_role("heading", name="By class")).to_be_visible(timeout=LONG_MS)
    assert f"evaluation={second}" in page.url
    known["second"] = second

    page.goto(f"/evaluate?evaluation={known['first']}&with={known['second']}")
    expect(page.get_by_role("heading", name="Differences, 2 − 1")).to_be_visible()
    a, b = (stored.load(known[k]).shapes["mask"].map50.value for k in ("first", "second"))
    expect(page.locator(".cmlp-scroll table")).to_contain_text(f"{a:.3f} → {b:.3f}")


def ask(page: Page) -> None:
    """Open the form; once the server has judged before, it is folded away at first."""
    page.goto("/evaluate")
    form = page.locator("[data-testid=stExpander] details").first
    form.wait_for(timeout=240_000)
    if form.get_attribute("open") is None:
        page.get_by_text("New evaluation", exact=True).click()
    page.get_by_role("combobox", name=re.compile("Ground truth")).wait_for(timeout=240_000)


def choose(page: Page, box: str, option: re.Pattern[str]) -> None:
    """Choose in a select box."""
    page.get_by_role("combobox", name=re.compile(box)).first.click()
    page.get_by_role("option", name=option).first.click()
