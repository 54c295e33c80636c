"""Whether fusion is of use to a detector that has never seen a fused image.

`boxes` reads what there is to find, `detectors` makes one of an ONNX file or of a function,
`scores` rates what was found, and `judge` does so for every method of a benchmark and for each
source alone.
"""

from __future__ import annotations

from ddfm.bench.detect.boxes import read_boxes
from ddfm.bench.detect.detectors import load_detector
from ddfm.bench.detect.judge import check_boxes, detect

__all__ = ["check_boxes", "detect", "load_detector", "read_boxes"]
