"""Fuses infrared and visible without PyTorch, with ONNX Runtime, NumPy and Pillow.

    pip install onnxruntime numpy pillow
    python without_torch.py graphs/ infrared.png visible.png fused.png

`graphs/` holds the files that `ddfm export` wrote, on any machine, for default, tone, noise and
color. The images must have 8 bits and the same size, and be registered.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

LUMA = np.float32([0.299, 0.587, 0.114])
Array = np.ndarray  # (1, channels, H, W), from 0 to 1


class Graph:
    """A file that `ddfm export` wrote."""

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.about = self.session.get_modelmeta().custom_metadata_map

    def __call__(self, **planes: Array) -> Array:
        result: Array = self.session.run(None, planes)[0]
        return result


def read(path: str) -> Array:
    """R, G and B, upright."""
    with Image.open(path) as image:
        if image.mode[0] in "IF":  # "RGB" would turn almost every level into white
            raise SystemExit(f"{path} has more than 8 bits; use ddfm for it")
        rgb = np.asarray(ImageOps.exif_transpose(image).convert("RGB"), np.float32)
    return (rgb / 255).transpose(2, 0, 1)[None]


def luminance(rgb: Array) -> Array:
    """Of R, G and B."""
    return np.einsum("c,bchw->bhw", LUMA, rgb)[:, None]


def fuse(graphs: Path, a: Array, b: Array) -> Array:
    """R, G and B of the fused image; a is infrared, b visible."""
    method, noise = Graph(graphs / "default.onnx"), Graph(graphs / "noise.onnx")
    planes = {"a": luminance(a), "b": luminance(b)}
    for name, plane in planes.items():
        if noise(x=plane) >= float(method.about["clean"]):
            print(f"source {name} is noisy; ddfm would remove the noise first", file=sys.stderr)
    height, width = a.shape[2:]
    multiple = int(method.about["pad"])
    more = (0, 0), (0, 0), (0, -height % multiple), (0, -width % multiple)
    wide = {name: np.pad(plane, more, "reflect") for name, plane in planes.items()}
    fused = Graph(graphs / "tone.onnx")(fused=method(**wide)[..., :height, :width])
    return Graph(graphs / "color.onnx")(fused=fused, a=a, b=b)


def main(graphs: str, infrared: str, visible: str, output: str) -> None:
    """Reads, fuses and writes."""
    a, b = read(infrared), read(visible)
    if a.shape != b.shape:
        raise SystemExit("the pictures must be of one size")
    rgb = fuse(Path(graphs), a, b)[0].transpose(1, 2, 0)
    Image.fromarray(np.rint(255 * rgb).clip(0, 255).astype(np.uint8)).save(output)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(f"usage: {sys.argv[0]} graphs/ infrared.png visible.png fused.png")
    main(*sys.argv[1:])
