"""Object detectors: a Python function, or an ONNX file with a description next to it.

A detector is called with an image, (H, W, 3) of 8-bit RGB, and returns (class, score, (x0, y0, x1,
y1)), in pixels, for each object that it detects.

The description of `model.onnx` is `model.json`:

    {"classes": ["person", "bicycle", "car"], "layout": "yolo", "divide": 255,
     "mean": [0, 0, 0], "std": [1, 1, 1], "order": "rgb"}

All but the classes may be left out. A pixel is given to the model as (value / divide - mean) / std;
the image is scaled to the input of the model with its aspect ratio kept, and grey fills the rest.
Layouts:

    yolo    one output (1, 4 + classes, N), or with the last two swapped: centre, width, height and
            a score for each class; overlapping detections are removed here
    lists   outputs boxes (N, 4), labels (N), scores (N), by these names or in this order
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ddfm.arguments import check_known, one_of, positive
from ddfm.bench.detect.boxes import Array, Box, Corners, corners, overlaps
from ddfm.errors import DdfmError, InputError, missing_extra, one_line, short
from ddfm.storage.budget import ask_pixels
from ddfm.storage.inputs import existing_file, json_object, read_text

__all__ = ["Detector", "OnnxDetector", "load_detector", "load_detectors"]

Detector = Callable[[Array], Iterable[tuple[str, float, Corners]]]
LAYOUTS = ("yolo", "lists")
ORDERS = ("rgb", "bgr")
SETTINGS = ("classes", "layout", "divide", "mean", "std", "order")
LEAST, MOST = 1e-6, 1e6  # numbers that pixels are divided by, or from which they are subtracted
CANVAS_BYTES = 48  # memory per pixel of an input: as float32, normalised, and its copy
FILL = 114  # grey level of the padding that such models are trained with
ERRORS = 3  # the level of ONNX Runtime at which it prints errors, and no warnings
FAINTEST = 0.01  # lowest score of detections that are kept
SAME = 0.5  # least overlap of two detections that count as the same object


def load_detectors(names: Iterable[str]) -> dict[str, Detector]:
    """The detectors by name; see `load_detector`."""
    loaded: dict[str, Detector] = {}
    for text in names:
        name, detector = load_detector(text)
        if name in loaded:
            raise InputError(f"two detectors have the same name, {name}; rename one")
        loaded[name] = detector
    return loaded


def load_detector(name: str) -> tuple[str, Detector]:
    """The name of a detector and the detector itself, from FILE.onnx or FILE.py:FUNCTION."""
    file, _, function = name.rpartition(":")
    if Path(file).suffix == ".py" and function:
        return f"{Path(file).stem}:{function}", _of_python(Path(file), function)
    if Path(name).suffix == ".onnx":
        return Path(name).stem, OnnxDetector(Path(name))
    raise InputError(f"a detector must be FILE.onnx or FILE.py:FUNCTION, not {name}")


def _of_python(file: Path, function: str) -> Detector:
    names = runpy.run_path(str(existing_file(file)))
    if not callable(names.get(function)):
        raise InputError(f"{file} has no function {function}")
    return names[function]


class OnnxDetector:
    """A model that runs in ONNX Runtime, on the CPU."""

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise missing_extra("onnxruntime", "detect", "a detector in ONNX", error) from None
        path = existing_file(path)
        self.path, self.settings = path, _settings(path.with_suffix(".json"))
        quiet = onnxruntime.SessionOptions()
        quiet.log_severity_level = ERRORS  # it would print warnings about what the model declares
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), quiet, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors have no common class
            raise InputError(f"cannot read {path}: {one_line(error)}") from None
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise InputError(f"{path} is no detector: its input is not one image, (1, 3, H, W)")
        self._input = inputs[0]

    def __call__(self, picture: Array) -> list[tuple[str, float, Corners]]:
        """The detections in an image."""
        try:
            return self._found(picture)
        except DdfmError:
            raise
        except Exception as error:  # of the runtime, or of outputs that are laid out otherwise
            raise InputError(
                f"{self.path} cannot be used with the layout {self.settings['layout']}: "
                f"{one_line(error)}"
            ) from None

    def _found(self, picture: Array) -> list[tuple[str, float, Corners]]:
        tensor, scale = self._prepared(picture)
        names = [output.name for output in self._session.get_outputs()]
        outputs = dict(zip(names, self._session.run(None, {self._input.name: tensor}), strict=True))
        found = self._of_yolo if self.settings["layout"] == "yolo" else self._of_lists
        return [(b.kind, b.score, corners(c / scale for c in b.corners)) for b in found(outputs)]

    def _prepared(self, picture: Array) -> tuple[Array, float]:
        """The input of the model, and the factor by which the image was scaled."""
        height, width = picture.shape[:2]
        wanted = [side if isinstance(side, int) else None for side in self._input.shape[2:]]
        room = [
            side or -(-own // 32) * 32 for side, own in zip(wanted, (height, width), strict=True)
        ]
        ask_pixels(room[1], room[0], f"the input of {self.path}", CANVAS_BYTES * room[0] * room[1])
        scale = min(room[0] / height, room[1] / width) if None not in wanted else 1.0
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
        canvas = np.full((*room, 3), FILL, np.float32)
        canvas[: size[1], : size[0]] = small
        s = self.settings
        canvas = (canvas / s["divide"] - np.float32(s["mean"])) / np.float32(s["std"])
        canvas = canvas[..., ::-1] if s["order"] == "bgr" else canvas
        kind = np.uint8 if "uint8" in self._input.type else np.float32
        return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None]).astype(kind), scale

    def _of_yolo(self, outputs: dict[str, Array]) -> list[Box]:
        table = np.squeeze(next(iter(outputs.values())), 0)
        rows = 4 + len(self.settings["classes"])
        if table.ndim != 2 or rows not in table.shape:
            raise InputError(
                f"{self.path}: no side of its output {table.shape} is {rows} (4 + the number of "
                "classes)"
            )
        centre, half, scores = np.split(table if table.shape[0] == rows else table.T, (2, 4))
        best, score = scores.argmax(0), scores.max(0)
        boxes = []
        for k in np.flatnonzero(score >= FAINTEST):
            x, y, w, h = float(centre[0, k]), float(centre[1, k]), *map(float, half[:, k] / 2)
            kind = self.settings["classes"][best[k]]
            boxes.append(Box(kind, (x - w, y - h, x + w, y + h), float(score[k])))
        return _thinned(boxes)

    def _of_lists(self, outputs: dict[str, Array]) -> list[Box]:
        names = ("boxes", "labels", "scores")
        given = [outputs.get(n) for n in names] if set(names) <= set(outputs) else outputs.values()
        places, labels, scores = (np.asarray(some) for some in given)
        classes = self.settings["classes"]
        return [
            Box(classes[int(label)], corners(c), float(score))
            for c, label, score in zip(
                places.reshape(-1, 4), labels.ravel(), scores.ravel(), strict=True
            )
            if score >= FAINTEST and 0 <= int(label) < len(classes)
        ]


def _settings(path: Path) -> dict[str, Any]:
    try:
        text = read_text(path)
    except DdfmError as error:
        raise InputError(f"{error}; it lists the classes of the model") from None
    given = json_object(text, str(path))
    classes = given.get("classes")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise InputError(f"{path}: it must list the classes of the model, as classes")
    check_known(f"setting in {path}", given, SETTINGS)
    usual = {"layout": "yolo", "divide": 255, "mean": [0, 0, 0], "std": [1, 1, 1], "order": "rgb"}
    settings = usual | given
    one_of(f"layout in {path}", settings["layout"], LAYOUTS)
    one_of(f"order in {path}", settings["order"], ORDERS)
    positive(f"divide in {path}", settings["divide"], MOST)
    for name, least in (("mean", -MOST), ("std", LEAST)):
        if not _is_color(settings[name], least):
            raise InputError(
                f"{name} in {path} must be three numbers, of red, green and blue, from {least:g} "
                f"to {MOST:g}, not {short(settings[name])}"
            )
    return settings


def _is_color(value: Any, least: float) -> bool:
    """Whether this is a number of at least `least` for all channels, or three of them."""
    each = value if isinstance(value, list) else 3 * [value]
    return len(each) == 3 and all(isinstance(x, int | float) and least <= x <= MOST for x in each)


def _thinned(boxes: list[Box]) -> list[Box]:
    """Keeps, of overlapping detections of one class, the one with the best score."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda box: -box.score):
        rivals = [other for other in kept if other.kind == box.kind]
        if not rivals or overlaps([box], rivals).max() < SAME:
            kept.append(box)
    return kept
