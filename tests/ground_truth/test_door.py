from __future__ import annotations

import pytest

from cmlcore.errors import InputError
from cmlcore.ground_truth import completeness, kind_of, load, statistics


def coco(names, cells=None):
    return {
        "images": [{"id": i, "file_name": n} for i, n in enumerate(names)],
        "categories": [{"id": 1, "name": "NET"}, {"id": 2, "name": "megakaryocyte"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": (cells or {}).get(n, 1), "bbox": [5, 5, 9, 9]}
            for i, n in enumerate(names)
        ],
    }


def test_files_of_one_folder_are_its_parts(image, jsons, tmp_path):
    for n in ("a", "b", "c"):
        image(f"images/{n}.png")
    jsons("annotations/instances_train.json", coco(["a.png"]))
    jsons("annotations/instances_val.json", coco(["b.png"]))
    jsons("annotations/instances_test.json", coco(["c.png"]))
    assert [[r.image.stem for r in load(tmp_path, p)] for p in ("train", "val", "test")] == [
        ["a"],
        ["b"],
        ["c"],
    ]
    assert len(load(tmp_path, "all")) == 3
    assert kind_of(tmp_path) == "COCO"


def test_a_set_without_parts_is_split_once_and_for_all(image, jsons, tmp_path):
    names = [f"{i:02d}.png" for i in range(40)]
    for n in names:
        image(n)
    rare = dict.fromkeys(names[:8], 2)
    path = jsons("labels.json", coco(names, rare))
    train, val = load(path, "train"), load(path, "val")
    assert len(val) == 6  # 15 % of 40
    assert {r.image for r in train} | {r.image for r in val} == {tmp_path / n for n in names}
    assert not {r.image for r in train} & {r.image for r in val}
    for part in (train, val):  # the rare class is on both sides
        assert any("megakaryocyte" in r.names for r in part)
    jsons("labels.json", coco(names[::-1], rare))
    assert {r.image for r in load(path, "val")} == {r.image for r in val}


def test_images_of_one_group_stay_on_one_side(image, jsons):
    names = [f"{i:02d}.png" for i in range(12)]
    raw = coco(names)
    for i, entry in enumerate(raw["images"]):
        image(entry["file_name"])
        entry["group"] = f"slide {i // 4}"
    path = jsons("labels.json", raw)
    val = load(path, "val")
    assert len(val) == 4
    assert len({int(r.image.stem) // 4 for r in val}) == 1


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_images_leave_both_sides_one(image, jsons, n):
    names = [f"{i}.png" for i in range(n)]
    for name in names:
        image(name)
    path = jsons("labels.json", coco(names))
    assert len(load(path, "val")) == (n > 1)
    assert len(load(path, "train")) == n - (n > 1)


def test_images_that_say_nothing_about_the_classes_are_left_out(image, jsons):
    names = ["a.png", "b.png"]
    for n in names:
        image(n)
    raw = coco(names, {"a.png": 2})
    assert (
        len(load(jsons("labels.json", raw), "all", ("net",))) == 2
    )  # complete: b shows none, and that is said
    raw["info"] = {"complete": []}
    (record,) = load(jsons("labels.json", raw), "all", ("net",))
    assert record.image.name == "b.png"


def test_a_folder_of_sets_is_read_as_one(image, jsons, tmp_path):
    image("one/a.png")
    jsons("one/labels.json", coco(["a.png"]))
    image("two/images/b.png")
    image("two/masks/b.png")
    (tmp_path / "notes").mkdir()
    assert kind_of(tmp_path) == "folder of sets"
    assert [kind_of(tmp_path / n) for n in ("one", "two", "notes")] == ["COCO", "masks", None]
    assert {r.image.stem for r in load(tmp_path, "all")} == {"a", "b"}


def test_what_cannot_be_read_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="holds no labelled images"):
        load(tmp_path, "train")
    with pytest.raises(InputError, match="does not exist"):
        load(tmp_path / "nothing", "train")
    with pytest.raises(InputError, match="no part of a data set"):
        load(tmp_path, "training")
    (tmp_path / "words.txt").write_text("x")
    with pytest.raises(InputError, match="holds no labelled images"):
        load(tmp_path / "words.txt", "train")
    assert kind_of(tmp_path) is None
    assert kind_of(tmp_path / "nothing") is None


def test_many_sentences_of_one_kind_are_cut_short(jsons, said):
    with pytest.raises(InputError):
        load(jsons("labels.json", coco([f"{i}.png" for i in range(50)])), "all", tell=said.append)
    assert sum("is missing" in s for s in said) == 20
    assert "30 more of this kind: image missing." in said


def test_the_public_sets_by_their_folder_and_by_their_roof(real_data):
    roof = load(real_data, "val")
    by_set = {n: load(real_data / n, "val") for n in ("txl_pbc", "bbbc041seg", "krd_wbc", "zxaoyou_ds2")}
    assert {n: len(r) for n, r in by_set.items()} == {
        "txl_pbc": 164,
        "bbbc041seg": 7,
        "krd_wbc": 61,
        "zxaoyou_ds2": 0,
    }
    assert len(roof) == 232
    assert (kind_of(real_data), kind_of(real_data / "txl_pbc")) == ("public sets", "public set")
    only = load(real_data, "val", ("thrombocyte",))
    assert {r.source for r in only} == {"PBC", "Raabin", "BCCD", "BCD"}


def test_the_erythrocyte_leukocyte_task_has_real_images(real_data):
    classes = ("erythrocyte", "leukocyte")
    train, val = (load(real_data / "txl_pbc", p, classes) for p in ("train", "val"))
    assert (len(train), len(val)) == (1002, 164)
    assert all(completeness(r, classes) == (True, True) for r in train)
    rows = {r.key: r for r in statistics(train, train, classes)}
    assert (rows["erythrocyte"].used, rows["leukocyte"].used) == (16332, 1048)
    assert (rows["thrombocyte"].cells, rows["thrombocyte"].used) == (588, 0)
