"""Detection on fused images: figures by hand, and a tiny detector of bright things."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import ddfm_run, refused
from ddfm.bench.detect.boxes import Box, overlaps, read_boxes
from ddfm.bench.detect.detectors import load_detector
from ddfm.bench.detect.scores import Judged, average_precision, draws, interval, judged, recall
from ddfm.errors import DdfmError

BRIGHT = """
from scipy.ndimage import find_objects, label

def bright(picture):
    mask = picture.mean(axis=2) > 150
    for rows, columns in find_objects(label(mask)[0]):
        score = float(picture[rows, columns].mean()) / 255
        yield "person", score, (columns.start, rows.start, columns.stop, rows.stop)
"""
PERSON = (10, 20, 20, 40)  # x0, y0, x1, y1


def test_overlap_by_hand():
    a, b = Box("car", (0, 0, 2, 2)), Box("car", (1, 1, 3, 3))
    np.testing.assert_allclose(overlaps([a, b], [a, b]), [[1, 1 / 7], [1 / 7, 1]])
    assert overlaps([], [a]).shape == (0, 1)


def test_average_precision_by_hand():
    """Right, wrong, right, wrong, right: precision 1, 2/3 and 3/5 where recall grows by a third."""
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.2])
    right = np.array([True, False, True, False, True])
    whole = [Judged(scores, right, 3)]
    assert average_precision(whole) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    halves = [Judged(scores[1::2], right[1::2], 1), Judged(scores[::2], right[::2], 2)]
    assert average_precision(halves) == pytest.approx(average_precision(whole))
    assert recall(whole) == pytest.approx(2 / 3)  # the last one was not sure
    assert math.isnan(average_precision([Judged(scores, right & False, 0)]))
    better = Judged(np.array([0.9, 0.8]), np.array([False, True]), 1)  # monotone: 1/2, not less
    assert average_precision([better]) == pytest.approx(1 / 2)


def test_a_box_is_matched_once_and_by_its_own_class():
    there = [Box("person", PERSON)]
    finds = [Box("person", (10, 20, 20, 39), 0.9), Box("person", PERSON, 0.8),
             Box("car", PERSON, 1.0), Box("person", (60, 20, 70, 40), 0.7)]  # fmt: skip
    result = judged(finds, there, "person")
    assert result.right.tolist() == [True, False, False] and result.boxes == 1
    assert judged(finds, there, "car").boxes == 0


def test_intervals_use_the_same_resampled_pictures_for_all_methods():
    drawn = draws(20)
    np.testing.assert_array_equal(drawn, draws(20))
    found = np.random.default_rng(0).random(20) < 0.5
    low, high = interval([found[draw].mean() for draw in drawn])
    half = 1.96 * math.sqrt(found.mean() * (1 - found.mean()) / 20)
    assert (low + high) / 2 == pytest.approx(found.mean(), abs=0.03)
    assert (high - low) / 2 == pytest.approx(half, abs=0.05)  # that of a share of twenty
    assert interval([math.nan, 0.5, 0.5]) == (0.5, 0.5)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Persons visible in infrared only, by day and by night."""
    for folder in ("ir", "vi"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    lines = ["pair,annotated_on,class,x0,y0,x1,y1"]
    for k, name in enumerate(("00001D", "00002D", "00003N", "00004N")):
        visible = np.random.default_rng(k).integers(40, 100, (64, 96), np.uint8)
        infrared = visible // 2
        infrared[20:40, 10 + k : 20 + k] = 230
        Image.fromarray(infrared).save(tmp_path / "set" / "ir" / f"{name}.png")
        Image.fromarray(visible).save(tmp_path / "set" / "vi" / f"{name}.png")
        lines += [f"{name},fusion,person,{10 + k},20,{20 + k},40", f"{name},visible,car,1,1,9,9"]
    (tmp_path / "boxes.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "tiny.py").write_text(BRIGHT)
    return tmp_path


def test_methods_that_keep_targets_score_higher(pairs):
    out = pairs / "out"
    lost = f"lost={pairs / 'set' / 'vi'}"
    result = ddfm_run(
        "bench", pairs / "set", "--out", out, "--prior", "gaussian", "--steps", 1, "--baselines",
        "--also", lost, "--detect", pairs / "boxes.csv",
        "--detector", f"{pairs / 'tiny.py'}:bright",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with open(out / "detections.csv", newline="") as file:
        rows = {(r["group"], r["class"], r["method"]): r for r in csv.DictReader(file)}
    assert {group for group, _, _ in rows} == {"all", "day", "night"}
    assert {kind for _, kind, _ in rows} == {"person", "mean"}  # the car was seen in one source
    for group, boxes in (("all", 4), ("day", 2), ("night", 2)):
        for method, share in (("ir alone", 1), ("maximum", 1), ("vi alone", 0), ("lost", 0)):
            row = rows[group, "person", method]
            assert (float(row["AP50"]), float(row["recall"])) == (share, share)
            assert int(row["boxes"]) == boxes
    ours, theirs = rows["all", "mean", "default"], rows["all", "mean", "lost"]
    assert float(ours["difference low"]) == float(ours["difference high"]) == 0
    assert float(theirs["difference"]) == -float(ours["AP50"])
    assert "| lost | 0.0 (0.0 to 0.0) |" in (out / "detections.md").read_text()


def test_what_distorts_the_figures_is_named(pairs):
    """A class that the detector calls by another name, and a method without some results."""
    boxes = (pairs / "boxes.csv").read_text().replace("person", "Person")
    (pairs / "boxes.csv").write_text(boxes)
    (pairs / "other").mkdir()
    shutil.copy(pairs / "set" / "vi" / "00001D.png", pairs / "other")
    result = ddfm_run(
        "bench", pairs / "set", "--out", pairs / "out", "--prior", "gaussian", "--steps", 1,
        "--also", f"other={pairs / 'other'}", "--detect", pairs / "boxes.csv",
        "--detector", f"{pairs / 'tiny.py'}:bright",
    )  # fmt: skip
    warned = [line for line in result.stderr.splitlines() if "warning" in line]
    assert warned == [
        "ddfm: warning: other is not among the detections: it has no result for 3 of 4 pairs with "
        "boxes",
        "ddfm: warning: tiny:bright found no Person in any image, which counts as 0; it found "
        "person",
    ]


@pytest.mark.parametrize(
    ("returned", "named"),
    [
        ("[('person', 1)]", "('person', 1)"),
        ("[('person', 1, (2, 3))]", "('person', 1, (2, 3))"),
        ("[('person', 'x', (1, 2, 3, 4))]", "('person', 'x', (1, 2, 3, 4))"),
        ("[('person', float('nan'), (1, 2, 3, 4))]", "('person', nan, (1, 2, 3, 4))"),
        ("[7]", "7"),
        ("7", "7"),
        ("None", "None"),
    ],
)
def test_what_a_function_returns_is_checked(pairs, returned, named):
    (pairs / "tiny.py").write_text(f"def bright(picture):\n    return {returned}\n")
    result = ddfm_run(
        "bench", pairs / "set", "--out", pairs / "out", "--prior", "gaussian", "--steps", 1,
        "--limit", 1, "--detect", pairs / "boxes.csv", "--detector", f"{pairs / 'tiny.py'}:bright",
    )  # fmt: skip
    last = result.stderr.splitlines()[-1]
    assert result.exit_code == 2 and last.startswith("ddfm: error: a detector must return (class,")
    assert last.endswith(f"not {named}")


def cells(path: Path, side: int = 64) -> None:
    """A model with YOLO's layout: a detection per cell of 16 pixels, scored by brightness."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    count = side // 16
    x, y = np.meshgrid(np.arange(count) * 16 + 8.0, np.arange(count) * 16 + 8.0)
    boxes = np.stack([x.ravel(), y.ravel(), *np.full((2, count**2), 16.0)])[None]
    make, number = onnx.helper, onnx.TensorProto
    graph = make.make_graph(
        [
            make.make_node("AveragePool", ["picture"], ["pooled"], kernel_shape=[16, 16],
                           strides=[16, 16]),
            make.make_node("Reshape", ["pooled", "shape"], ["scores"]),
            make.make_node("Concat", ["boxes", "scores"], ["found"], axis=1),
        ],
        "cells",
        [make.make_tensor_value_info("picture", number.FLOAT, [1, 3, side, side])],
        [make.make_tensor_value_info("found", number.FLOAT, [1, 7, count**2])],
        [onnx.numpy_helper.from_array(boxes.astype(np.float32), "boxes"),
         onnx.numpy_helper.from_array(np.array([1, 3, -1]), "shape")],
    )  # fmt: skip
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    path.with_suffix(".json").write_text(json.dumps({"classes": ["red", "green", "blue"]}))


def test_a_missing_file_of_a_detector_is_reported(tmp_path):
    with pytest.raises(DdfmError, match=r"cells\.onnx: there is no such file$"):
        load_detector(str(tmp_path / "cells.onnx"))
    cells(tmp_path / "cells.onnx")
    (tmp_path / "cells.json").unlink()
    with pytest.raises(DdfmError, match=r"cells\.json: there is no such file; it lists"):
        load_detector(str(tmp_path / "cells.onnx"))


def test_boxes_of_an_onnx_file_are_in_pixels_of_the_picture(tmp_path):
    """The picture is twice as large as the model's input, and wider than high."""
    cells(tmp_path / "cells.onnx")
    name, detector = load_detector(str(tmp_path / "cells.onnx"))
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[32:64, 64:96, 2] = 255  # a blue cell
    [(kind, score, corners)] = [f for f in detector(picture) if f[1] > 0.8]
    assert (name, kind, corners) == ("cells", "blue", (64.0, 32.0, 96.0, 64.0))
    assert score == pytest.approx(1, abs=0.05)  # made smaller, its rim is not quite as blue


def test_an_onnx_file_may_list_its_detections(tmp_path):
    """By the names of its outputs, in any order; a picture of any size."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make, types = onnx.helper, onnx.TensorProto
    lists = {
        "labels": np.array([1, 0, 7]),  # the last one is no class
        "boxes": np.array([[1, 2, 3, 4], [5, 6, 7, 8], [0, 0, 9, 9]], np.float32),
        "scores": np.array([0.9, 0.5, 0.8], np.float32),
    }
    constants = [onnx.numpy_helper.from_array(v, f"the {k}") for k, v in lists.items()]
    kinds = {k: types.INT64 if k == "labels" else types.FLOAT for k in lists}
    graph = make.make_graph(
        [make.make_node("Identity", [f"the {k}"], [k]) for k in lists],
        "lists",
        [make.make_tensor_value_info("picture", types.FLOAT, [1, 3, "height", "width"])],
        [make.make_tensor_value_info(k, kinds[k], lists[k].shape) for k in lists],
        constants,
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "lists.onnx")
    described = {"classes": ["person", "car"], "layout": "lists", "order": "bgr"}
    (tmp_path / "lists.json").write_text(json.dumps(described))
    _, detector = load_detector(str(tmp_path / "lists.onnx"))
    found = detector(np.zeros((50, 70, 3), np.uint8))
    assert [(kind, box) for kind, _, box in found] == [("car", (1, 2, 3, 4)),
                                                       ("person", (5, 6, 7, 8))]  # fmt: skip
    (tmp_path / "lists.json").write_text(json.dumps(described | {"layot": "yolo"}))
    with pytest.raises(DdfmError, match="did you mean layout"):
        load_detector(str(tmp_path / "lists.onnx"))
    (tmp_path / "lists.onnx").write_bytes(b"no model")
    with pytest.raises(DdfmError):
        load_detector(str(tmp_path / "lists.onnx"))


def test_bad_boxes_and_detectors_are_refused_in_one_line(pairs, tmp_path):
    def bench(*arguments):
        return ddfm_run("bench", pairs / "set", "--out", tmp_path / "no", *arguments)

    boxes, tiny = pairs / "boxes.csv", f"{pairs / 'tiny.py'}:bright"
    refused(bench("--detect", boxes), "--detector")
    twice = ("--detector", tiny, "--detector", tiny)
    refused(bench("--detect", boxes, *twice), "two detectors have the same name, tiny:bright")
    refused(bench("--detect", boxes, "--detector", f"{pairs / 'tiny.py'}:dark"), "dark")
    refused(bench("--detect", boxes, "--detector", "model.pt"), "FILE.onnx")
    refused(bench("--detect", tmp_path / "none.csv", "--detector", tiny), "none.csv")
    (tmp_path / "other.csv").write_text("pair,class,x0,y0,x1,y1\nelsewhere,car,1,1,2,2\n")
    refused(bench("--detect", tmp_path / "other.csv", "--detector", tiny), "elsewhere")
    for line, word in (
        ("one,car,3,1,2,2", "box from"),
        ("one,car,a,1,2,2", "numbers"),
        ("one,car,1,1,nan,2", "box from"),
        ("one,car,1,1,2,1e308", "too large"),
        ("one,car,1,1,2", "fewer cells"),
    ):
        (tmp_path / "bad.csv").write_text(f"pair,class,x0,y0,x1,y1\n{line}\n")
        with pytest.raises(DdfmError, match=f"line 2: .*{word}"):
            read_boxes(tmp_path / "bad.csv")
    (tmp_path / "bad.csv").write_text("pair,class,x0,y0,x1,y1,annotated_on\none,car,1,1,2,2,ir\n")
    with pytest.raises(DdfmError, match="none whose annotated_on is fusion"):
        read_boxes(tmp_path / "bad.csv")
    (tmp_path / "bad.csv").write_text("class,x0,y0,x1,y1,pair\ncar,1,1,2,2\n")
    with pytest.raises(DdfmError, match="line 2: it has fewer cells"):
        read_boxes(tmp_path / "bad.csv")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"classes": [1, 2, 3]}, "must list the classes"),
        ({"divide": "x"}, "divide in .* finite number above 0"),
        ({"divide": 0}, "divide in .* finite number above 0"),
        ({"mean": [0, 0]}, "mean in .* three numbers"),
        ({"std": [1, 1, 0]}, "std in .* three numbers"),
        ({"std": {"x": 1}}, "std in .* three numbers"),
        ({"order": "grb"}, "order"),
        ({"layout": []}, "layout"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused(tmp_path, changed, word):
    cells(tmp_path / "cells.onnx")
    described = {"classes": ["red", "green", "blue"]} | changed
    (tmp_path / "cells.json").write_text(json.dumps(described))
    with pytest.raises(DdfmError, match=word):
        load_detector(str(tmp_path / "cells.onnx"))


def test_a_description_that_is_nested_without_end_is_refused(tmp_path):
    cells(tmp_path / "cells.onnx")
    (tmp_path / "cells.json").write_text('{"classes": ' + "[" * 100_000)
    with pytest.raises(DdfmError, match="nested too deeply"):
        load_detector(str(tmp_path / "cells.onnx"))


@pytest.mark.parametrize(
    ("shape", "word"),
    [
        ([1, 3, 4], "its input is not one image"),
        ([1, 3, 20_000, 20_000], "20000 x 20000 pixels, more than the limit"),
        ([1, 1, 8, 8], r"cannot be used with the layout yolo: .*input"),
        ([1, 3, 8, 8], r"no side of its output \(3, 8, 8\)"),
    ],
)
def test_a_model_of_another_kind_is_refused(tmp_path, shape, word):
    """Models that return their input, which holds no detections."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make, number = onnx.helper, onnx.TensorProto
    places = [make.make_tensor_value_info(name, number.FLOAT, shape) for name in "xy"]
    graph = make.make_graph([make.make_node("Identity", ["x"], ["y"])], "same", *zip(places))
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "same.onnx")
    (tmp_path / "same.json").write_text('{"classes": ["a", "b", "c", "d"]}')
    with pytest.raises(DdfmError, match=word):
        _, detector = load_detector(str(tmp_path / "same.onnx"))
        detector(np.zeros((16, 16, 3), np.uint8))
