from __future__ import annotations

import csv
import sys

import pytest

from cmlcore import RESEARCH_USE, cli
from cmlcore.ground_truth import load, phantoms


@pytest.fixture
def shell(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["cmlscope", "data", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return run


def test_list_names_each_set_with_its_licence_and_source(shell):
    code, out, _ = shell("list")
    assert code == 0
    for word in ("txl_pbc", "matek", "CC BY-NC-SA 3.0", "https://github.com/lugan113/TXL-PBC_Dataset"):
        assert word in out


def test_phantoms_then_statistics(shell, tmp_path, monkeypatch):
    monkeypatch.setattr(phantoms, "SIDES", (160,))
    code, out, err = shell("phantoms", "--out", tmp_path / "phantoms", "--images", 6, "--seed", 3)
    assert (code, err.strip()) == (0, "")
    assert "Phantoms: drawn cells" in out
    code, _, err = shell("phantoms", "--out", tmp_path / "phantoms", "--images", 6)
    assert code == 2
    assert "is not empty" in err
    table = tmp_path / "table.csv"
    code, out, _ = shell("stats", tmp_path / "phantoms", "--csv", table)
    assert code == 0
    for word in ("NET", "Megakaryocyte", "All", "phantom", "drawn smear"):
        assert word in out
    lines = table.read_text().splitlines()
    assert lines[0] == f"# {RESEARCH_USE}"
    rows = list(csv.DictReader(lines[1:]))
    every, used = load(tmp_path / "phantoms", "all"), load(tmp_path / "phantoms", "train")
    assert rows[-1]["class"] == "All"
    assert int(rows[-1]["all cells"]) == sum(len(r.names) for r in every)
    assert int(rows[-1]["used cells"]) == sum(len(r.names) for r in used)


def test_statistics_tell_what_was_left_out(shell, image, jsons, tmp_path):
    image("a.png")
    raw = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "gone.png"}],
        "categories": [{"id": 1, "name": "RBC"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}],
    }
    code, out, _ = shell("stats", jsons("labels.json", raw), "--class", "WBC", "--part", "all")
    assert code == 0
    assert out.count("gone.png is missing") == 1


def test_single_cells_are_counted_by_their_folders(shell, image, tmp_path):
    for name in ("train/BAS/1.png", "train/BAS/2.png", "val/Monozyt/3.png"):
        image(f"cells/{name}")
    table = tmp_path / "table.csv"
    code, _, err = shell("stats", tmp_path / "cells", "--csv", table)
    assert (code, err) == (0, "")
    rows = {r["class"]: r for r in csv.DictReader(table.read_text().splitlines()[1:])}
    assert (rows["Basophil"]["all cells"], rows["Basophil"]["used cells"]) == ("2", "2")
    assert (rows["Monocyte"]["all cells"], rows["Monocyte"]["used cells"]) == ("1", "0")


def test_any_set_is_written_as_coco(shell, image, tmp_path):
    image("set/images/a.png")
    (tmp_path / "set" / "labels").mkdir()
    (tmp_path / "set" / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.5\n")
    (tmp_path / "set" / "data.yaml").write_text("train: images\nnames: [WBC, RBC]\n")
    code, out, _ = shell("convert", tmp_path / "set", "--out", tmp_path / "out.json")
    assert code == 0
    assert out.endswith("out.json: 1 images, 2 classes\n")
    (first,), (back,) = load(tmp_path / "set", "all"), load(tmp_path / "out.json", "all")
    assert (back.names, back.complete, back.image) == (first.names, first.complete, first.image)
    assert abs(back.boxes - first.boxes).max() < 1e-3


def test_get_without_network_says_how_to_do_it_by_hand(shell, tmp_path):
    code, _, err = shell("get", "matek", "--to", tmp_path / "sets")
    assert code == 2
    assert "needs a browser" in err
    assert "--from" in err
    code, _, err = shell("get", "krd_wbc", "--to", tmp_path / "sets", "--from", tmp_path / "none")
    assert code == 2
    assert "does not exist" in err


def test_a_real_set_goes_by_hand_into_the_data_folder(shell, real_data, cml_home):
    code, out, _ = shell("get", "zxaoyou_ds2", "--from", real_data / "zxaoyou_ds2")
    assert code == 0
    assert str(cml_home / "data" / "zxaoyou_ds2") in out
    assert len(load(cml_home / "data", "train")) == 100
