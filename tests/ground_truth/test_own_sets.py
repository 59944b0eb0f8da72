"""QuPath GeoJSON, YOLO and mask folders."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cmlcore.demo import draw_demo, truth_path
from cmlcore.errors import InputError
from cmlcore.ground_truth import filled, load, slide_labels


def feature(ring, name=None, kind="annotation", **properties):
    if name is not None:
        properties["classification"] = {"name": name, "color": [1, 2, 3]}
    geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": kind, **properties}}


def square(x0, y0, side):
    return [[x0, y0], [x0 + side, y0], [x0 + side, y0 + side], [x0, y0 + side]]


def collection(*features):
    return {"type": "FeatureCollection", "features": list(features)}


class TestQuPath:
    def test_cells_rois_and_places_to_ignore(self, image, jsons, tmp_path, said):
        image("a.png")
        multi = feature(square(0, 0, 1), "WBC")
        multi["geometry"] = {
            "type": "MultiPolygon",
            "coordinates": [[[*square(40, 2, 5), [40, 2]]], [[*square(50, 2, 5), [50, 2]]]],
        }
        jsons(
            "a.geojson",
            collection(
                feature(square(2, 2, 30), "Region*"),
                feature(square(4, 4, 8), "Erythrozyt", "detection"),
                feature(square(15, 15, 6), "Leukocyte: NET"),
                feature(square(22, 4, 5)),
                feature(square(3, 25, 4), "Ignore*"),
                multi,
            ),
        )
        (record,) = load(tmp_path, "all", tell=said.append)
        assert record.names == ("erythrocyte", "net", "leukocyte", "leukocyte")
        assert record.complete == {"erythrocyte", "net", "leukocyte"}
        np.testing.assert_array_equal(record.rois[0], square(2, 2, 30))
        np.testing.assert_array_equal(record.clusters, [[22, 4, 27, 9], [3, 25, 7, 29]])
        np.testing.assert_array_equal(record.boxes[0], [4, 4, 12, 12])
        assert any("without a class" in s for s in said)

    def test_an_unclassed_annotation_around_cells_is_a_base_roi(self, image, jsons, tmp_path):
        image("a.png")
        jsons("a.geojson", collection(feature(square(1, 1, 30)), feature(square(5, 5, 8), "NET")))
        (record,) = load(tmp_path, "all")
        assert (len(record.rois), record.names, len(record.clusters)) == (1, ("net",), 0)

    def test_without_a_base_roi_all_of_the_image_is_labelled(self, image, jsons, tmp_path, said):
        image("a.tif")
        jsons("a.geojson", [feature(square(5, 5, 8), "NET")])
        (record,) = load(tmp_path, "all", tell=said.append)
        assert record.rois == ()
        assert said == ["a.geojson has no base ROI; all of its image counts as labelled."]

    @pytest.mark.parametrize(
        ("bad", "sentence"),
        [
            (feature(square(70, 50, 9), "NET"), "lies outside the image"),
            ({"type": "Feature", "geometry": None, "properties": {}}, "is broken"),
            (feature([["x", 1], [2, 3], [4, 4]], "NET"), "is broken"),
            (
                {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {}},
                "is a Point, which encloses nothing",
            ),
        ],
    )
    def test_defects(self, image, jsons, tmp_path, said, bad, sentence):
        image("a.png")
        jsons("a.geojson", collection(bad, feature(square(5, 5, 8), "NET")))
        (record,) = load(tmp_path, "all", tell=said.append)
        assert record.names == ("net",)
        assert any(sentence in s for s in said), said

    def test_files_that_cannot_be_used(self, image, jsons, tmp_path, said):
        jsons("lost.geojson", collection(feature(square(5, 5, 8), "NET")))
        with pytest.raises(InputError, match="No image"):
            load(tmp_path, "all", tell=said.append)
        assert said == ["No image lies beside lost.geojson; its labels are left out."]
        image("lost.png")
        (tmp_path / "lost.geojson").write_text("{")
        with pytest.raises(InputError, match="cannot be read as JSON"):
            load(tmp_path, "all")
        jsons("lost.geojson", {"type": "Topology"})
        with pytest.raises(InputError, match="no GeoJSON of objects"):
            load(tmp_path, "all")

    def test_folders_name_the_part_and_dataset_json_the_rest(self, image, jsons, tmp_path):
        for part, name in (("train", "a"), ("val", "b")):
            image(f"{part}/{name}.png")
            jsons(f"{part}/{name}.geojson", collection(feature(square(5, 5, 8), "foam cell")))
        facts = {
            "mpp": {"a.png": 0.1},
            "source": "Lab",
            "complete": [],
            "classes": {"foam cell": "Pseudo-Gaucher cell"},
        }
        jsons("dataset.json", facts)
        (a,), (b,) = load(tmp_path, "train"), load(tmp_path, "val")
        assert (a.mpp, b.mpp, a.source, a.complete) == (0.1, None, "Lab", frozenset())
        assert a.names == b.names == ("pseudo_gaucher_cell",)

    def test_the_truth_of_the_demo_slide_is_ground_truth(self, tmp_path):
        slide = draw_demo(tmp_path / "demo.czi", 512)
        record = slide_labels(truth_path(slide, 0), (512, 512), 0.22, "demo")
        assert set(record.names) == record.complete == {"erythrocyte", "thrombocyte", "leukocyte"}
        assert (record.mpp, record.source, record.rois) == (0.22, "demo", ())
        assert record.boxes.max() <= 512
        with pytest.raises(InputError, match="names no cell"):
            slide_labels(truth_path(slide, 0), (1, 1), 0.22, "demo")


class TestYolo:
    def config(self, tmp_path, text="train: images/train\nval: images/val\nnames: [WBC, RBC]\n"):
        (tmp_path / "data.yaml").write_text(text)

    def labels(self, tmp_path, name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def test_boxes_and_outlines(self, image, tmp_path):
        self.config(tmp_path)
        image("images/train/a.png", 100, 50)
        image("images/val/b.png", 100, 50)
        self.labels(tmp_path, "labels/train/a.txt", "1 0.5 0.5 0.2 0.4\n0 0.1 0.2 0.3 0.2 0.3 0.6\n")
        self.labels(tmp_path, "labels/val/b.txt", "")
        (a,), (b,) = load(tmp_path, "train"), load(tmp_path / "data.yaml", "val")
        assert a.names == ("erythrocyte", "leukocyte")
        np.testing.assert_allclose(a.boxes, [[40, 15, 60, 35], [10, 10, 30, 30]], atol=1e-4)
        assert a.outlines[0] is None
        np.testing.assert_allclose(a.outlines[1], [[10, 10], [30, 10], [30, 30]], atol=1e-4)
        assert a.complete == b.complete == {"erythrocyte", "leukocyte"}
        assert b.names == ()

    def test_a_list_of_files_and_names_by_number(self, image, tmp_path):
        self.config(tmp_path, "path: .\ntrain: train.txt\nnames:\n  0: NET\n")
        for n in "abc":
            image(f"images/{n}.png")
            self.labels(tmp_path, f"labels/{n}.txt", "0 0.5 0.5 0.5 0.5")
        (tmp_path / "train.txt").write_text("./images/a.png\nimages/b.png\n\nimages/c.png\n")
        train, val = load(tmp_path, "train"), load(tmp_path, "val")
        assert (len(train), len(val)) == (2, 1)  # one part alone is split
        assert {r.names for r in (*train, *val)} == {("net",)}

    @pytest.mark.parametrize(
        ("line", "sentence"),
        [
            ("1 0.5 0.5 0.2", "Line 1 of a.txt is broken"),
            ("1 0.5 nan 0.2 0.1", "Line 1 of a.txt is broken"),
            ("1 1.5 0.5 0.2 0.1", "Line 1 of a.txt is broken"),
            ("one 0.5 0.5 0.2 0.1", "Line 1 of a.txt is broken"),
            ("7 0.5 0.5 0.2 0.1", "names class 7, which data.yaml does not"),
        ],
    )
    def test_a_bad_line_is_left_out(self, image, tmp_path, said, line, sentence):
        self.config(tmp_path, "train: images\nnames: [WBC, RBC]\n")
        image("images/a.png")
        self.labels(tmp_path, "labels/a.txt", f"{line}\n0 0.5 0.5 0.2 0.2\n")
        (record,) = load(tmp_path, "all", tell=said.append)
        assert record.names == ("leukocyte",)
        assert any(sentence in s for s in said), said

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("names: [", "cannot be read as YAML"),
            ("just words", "must name the parts"),
            ("train: images\n", "lists no “names”"),
            ("train: images\nnames: {a: b}\n", "from numbers to classes"),
        ],
    )
    def test_a_broken_config_is_refused(self, image, tmp_path, text, sentence):
        image("images/a.png")
        self.config(tmp_path, text)
        with pytest.raises(InputError, match=sentence):
            load(tmp_path, "all")

    def test_missing_folders_and_labels_are_said(self, image, tmp_path, said):
        self.config(tmp_path)
        image("images/train/a.png")
        (record,) = load(tmp_path, "all", tell=said.append)
        assert record.names == ()
        assert any("“images/val” in data.yaml is not there" in s for s in said)
        assert any("a.png has no label file" in s for s in said)


class TestMasks:
    def write(self, tmp_path, name, mask):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), mask)

    def two_cells(self, dtype=np.uint16, values=(3, 700)):
        mask = np.zeros((40, 60), dtype)
        cv2.circle(mask, (15, 15), 8, values[0], -1)
        cv2.circle(mask, (29, 15), 7, values[1], -1)  # touches the first
        return mask

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_a_number_a_cell(self, image, jsons, tmp_path, suffix):
        image("images/a.png")
        mask = self.two_cells()
        self.write(tmp_path, f"masks/a{suffix}", mask)
        jsons("dataset.json", {"class": "NET", "mpp": 0.25})
        (record,) = load(tmp_path, "all")
        assert (record.names, record.mpp, record.complete) == (("net", "net"), 0.25, {"net"})
        for outline, value in zip(record.outlines, (3, 700), strict=True):
            np.testing.assert_array_equal(filled(outline, 40, 60), mask == value)

    def test_two_values_are_cut_into_pieces(self, image, tmp_path, said):
        image("images/a.png")
        mask = np.zeros((40, 60), np.uint8)
        cv2.circle(mask, (15, 15), 8, 255, -1)
        cv2.circle(mask, (40, 15), 7, 255, -1)
        mask[35, 5:8] = 255  # dust
        self.write(tmp_path, "masks/a_mask.png", mask)
        (record,) = load(tmp_path, "all", tell=said.append)
        assert record.names == ("blood_cell", "blood_cell")
        assert any("name no class" in s for s in said)

    def test_one_folder_a_class(self, image, tmp_path):
        for part in ("train", "val"):
            image(f"{part}/images/{part}.png")
        one, other = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
        one[5:15, 5:15] = 255
        other[20:35, 30:50] = 255
        self.write(tmp_path, "train/masks/RBC/train.png", one)
        self.write(tmp_path, "train/masks/my thing/train.png", other)
        self.write(tmp_path, "val/masks/RBC/val.png", other)
        (train,), (val,) = load(tmp_path, "train"), load(tmp_path, "val")
        assert sorted(train.names) == ["erythrocyte", "my_thing"]
        assert val.names == ("erythrocyte",)
        assert val.complete == {"erythrocyte", "my_thing"}  # all classes of the set

    @pytest.mark.parametrize(
        ("mask", "sentence"),
        [
            (np.zeros((41, 60), np.uint8), "its mask 60 × 41"),
            (None, "has no mask"),
            (b"nothing", "cannot be read"),
        ],
    )
    def test_defects(self, image, tmp_path, said, mask, sentence):
        image("images/a.png")
        image("images/good.png")
        self.write(tmp_path, "masks/good.png", self.two_cells())
        if isinstance(mask, bytes):
            (tmp_path / "masks" / "a.png").write_bytes(mask)
        elif mask is not None:
            self.write(tmp_path, "masks/a.png", mask)
        (record,) = load(tmp_path, "all", tell=said.append)
        assert record.image.name == "good.png"
        assert any(sentence in s for s in said), said

    def test_an_empty_mask_is_a_bare_image(self, image, tmp_path, said):
        image("images/a.png")
        self.write(tmp_path, "masks/a.png", np.zeros((40, 60), np.uint8))
        (record,) = load(tmp_path, "all", tell=said.append)
        assert record.names == ()
        assert record.boxes.shape == (0, 4)
        assert any("holds no cell" in s for s in said)

    @pytest.mark.parametrize(
        ("facts", "sentence"),
        [
            ({"masks": "colours"}, "must be “labels” or “binary”"),
            ({"mpp": "small"}, "no pixel size"),
            ({"mpp": 900}, "outside 0.005 to 50"),
            ({"complete": "NET"}, "must be a list"),
            ({"classes": ["a"]}, "must give a class for each name"),
            ([], "must hold an object"),
        ],
    )
    def test_facts_that_make_no_sense_are_refused(self, image, jsons, tmp_path, facts, sentence):
        image("images/a.png")
        self.write(tmp_path, "masks/a.png", self.two_cells())
        jsons("dataset.json", facts)
        with pytest.raises(InputError, match=sentence):
            load(tmp_path, "all")
