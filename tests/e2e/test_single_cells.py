"""Single cells and their bench in a real browser: drop, gallery, one cell large, its explanation, the CSV."""

from __future__ import annotations

import csv
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect

from cmlcore import RESEARCH_USE
from cmlcore.jobs.bench import BENCHES
from cmlcore.jobs.classify import NAMINGS

sys.path.insert(0, str(Path(__file__).parents[1] / "ui"))
from named_cells import a_bench

from .steps import LONG_MS, taken

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("patience")]
CLASSES = ("lymphocyte", "monocyte", "basophil")


@pytest.fixture
def classifier(home: Path) -> str:
    """A network with random weights on the server's shelf; every third cell or so is unlike its own."""
    import torch

    from cmlcore.single_cell.classify import save
    from cmlcore.single_cell.shelf import ClassifierCard
    from cmlcore.single_cell.unlike import Unlike
    from models.classifiers import build

    if not (home / "classifiers" / "drawn.json").is_file():
        torch.manual_seed(0)
        card = ClassifierCard("drawn", "Drawn cells", "efficientnet_lite0", "last", "rgb", CLASSES, 22.0, 64,
                              Path("drawn.safetensors"), "")  # fmt: skip
        unlike = Unlike(torch.zeros(3, 1280), torch.eye(1280), 50.0, (0.0, 1e3), (0.0, 1e3))
        save(card, build("efficientnet_lite0", 3, side=64), unlike)
    return "Drawn cells"


def drawn(seed: int, side: int = 120) -> Image.Image:
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (side, side), (240, 225, 220))
    ImageDraw.Draw(picture).ellipse((30, 34, 90, 92), fill=tuple(int(v) for v in rng.integers(40, 180, 3)))
    return picture


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Five good pictures, two of them in an archive, and four that cannot be used."""
    for i in range(3):
        drawn(i).save(tmp_path / f"cell {i}.png")
    drawn(0).convert("L").save(tmp_path / "grey.png")
    drawn(0).convert("CMYK").save(tmp_path / "print.tif")
    drawn(0).resize((12, 12)).save(tmp_path / "tiny.png")
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff no picture")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as z:
        for i in (3, 4):
            drawn(i).save(tmp_path / "held.png")
            z.write(tmp_path / "held.png", f"inside/cell {i}.png")
    (tmp_path / "held.png").unlink()
    return sorted(tmp_path.glob("*.*"))


def test_dropped_images_become_a_gallery_and_a_cell_is_explained(
    page: Page, home: Path, classifier: str, files: list[Path]
) -> None:
    page.goto("/cells")
    chooser = page.locator(".cml-pictures input[type=file]")
    page.get_by_text("Drop images of single cells here").wait_for()
    if page.locator(".st-key-classifier-drawn button").filter(has_text="Choose").count():
        page.locator(".st-key-choose-drawn button").click()
    expect(page.locator(".st-key-classifier-chosen-drawn")).to_be_visible()
    chooser.set_input_files(files)
    expect(page.get_by_text(f"{len(files)} files ready")).to_be_visible()
    size = page.get_by_label("µm per pixel")
    size.fill("0.2")
    size.press("Tab")
    page.wait_for_timeout(800)
    page.get_by_role("button", name="Name the cells").click()
    page.wait_for_url(re.compile("cells=[a-z0-9]+"))
    key = re.findall("cells=([a-z0-9]+)", page.url)[0]
    page.reload()  # the work goes on by itself
    cells = page.locator(".cml-gallery .cml-cell")
    expect(cells).to_have_count(5, timeout=LONG_MS)
    assert NAMINGS.get(key).state == "done"
    for name in ("grey.png is grey", "print.tif is a CMYK", "tiny.png is only 12", "torn.jpg is damaged"):
        expect(page.get_by_text(name)).to_be_visible()
    assert cells.first.locator("img").evaluate("i => i.decode().then(() => i.naturalWidth)") == 64
    expect(page.get_by_text(RESEARCH_USE, exact=True).first).to_be_visible()

    cells.nth(1).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("What the classifier saw")).to_be_visible()
    expect(dialog.get_by_text("Grad-CAM:")).to_be_visible(timeout=LONG_MS)
    expect(dialog.locator("img")).to_have_count(2)
    expect(dialog.get_by_text("2 of 5")).to_be_visible()
    dialog.get_by_role("button", name="Next").click()
    expect(dialog.get_by_text("3 of 5")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)

    lines = taken(page, page.get_by_role("link", name="CSV")).read_text().splitlines()
    assert RESEARCH_USE in lines[0]
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    named = {r["image"] for r in rows if r["class"]}
    assert named == {f"cell {i}.png" for i in range(5)}
    assert {r["image"] for r in rows if r["note"]} == {"grey.png", "print.tif", "tiny.png", "torn.jpg"}


def test_the_bench_page_shows_a_stored_bench(page: Page, home: Path) -> None:
    rows = (("dinov2_vits14", "last", "rgb"), ("efficientnet_lite0", "whole", "rgb+aug"))
    bench = a_bench(BENCHES.root() / "drawnbench", rows)
    page.goto("/bench?bench=drawnbench")
    expect(page.locator(".js-plotly-plot")).to_have_count(4)
    mean = bench["rows"][1]["summary"]["accuracy"][0]
    expect(page.locator(".cmlp-bench")).to_contain_text(f"{mean:.3f}")
    expect(page.get_by_text("Split by image", exact=False).first).to_be_visible()
    with zipfile.ZipFile(taken(page, page.locator(".st-key-zip-drawnbench button"))) as z:
        assert "results.csv" in z.namelist()
        assert RESEARCH_USE in z.read("results.csv").decode()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/cells", "/bench?bench=drawnbench"])
def test_nothing_overflows_on_a_small_screen(page: Page, scheme: str, path: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 1100, "height": 800})
    page.goto(path)
    ready = page.locator(".cml-gallery, .js-plotly-plot").first
    ready.wait_for()
    frame = page.locator("[data-testid=stMain]")
    assert frame.evaluate("e => e.scrollWidth - e.clientWidth") == 0
