"""Tests whether fusion helps an object detector that was not trained on fused images.

`boxes` reads the annotated boxes, `detectors` loads a detector from an ONNX file or a function,
`scores` rates its detections, and `judge` does this for every method of a benchmark and for each
source alone.
"""

from __future__ import annotations

from ddfm.bench.detect.boxes import read_boxes
from ddfm.bench.detect.detectors import load_detectors
from ddfm.bench.detect.judge import check_boxes, detect

__all__ = ["check_boxes", "detect", "load_detectors", "read_boxes"]
