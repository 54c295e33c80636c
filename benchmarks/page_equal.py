"""Whether the browser page, and ONNX Runtime, produce the same picture as `ddfm fuse`.

    ddfm web site/ --runtime node_modules/onnxruntime-web/dist --build-only
    python -m benchmarks.page_equal site/ INFRARED VISIBLE [INFRARED VISIBLE ...]

For each pair and method, prints the largest difference from `ddfm.fuse` in levels from 0 to 255,
and the number of pixels that differ by more than one level: for ONNX Runtime in Python, and for the
page in Chromium. Then the seconds of ddfm, of the runtime, and of the page, which loads everything
again each time. Needs playwright, and chromium on the PATH. Pairs of more than 0.6 million pixels,
which the page reduces for `dmfuse`, cannot be compared.
"""

from __future__ import annotations

import argparse
import shutil
import threading
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image
from playwright.sync_api import sync_playwright

import ddfm
from ddfm.imaging.sources import grey
from ddfm.web.server import site_server

__all__ = ["main"]


def by_runtime(site: Path) -> Callable[[str, np.ndarray, np.ndarray], np.ndarray]:
    """Luminance by ONNX Runtime, as in docs/export.md."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    sessions: dict[str, Any] = {}

    def run(name: str, **feeds: np.ndarray) -> np.ndarray:
        if name not in sessions:
            file = str(site / "graphs" / f"{name}.onnx")
            sessions[name] = onnxruntime.InferenceSession(file, options)
        planes = {key: plane[None, None] for key, plane in feeds.items()}
        return np.asarray(sessions[name].run(None, planes)[0])[0, 0]

    def fused(method: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        height, width = a.shape
        rest = ((0, -height % 16), (0, -width % 16))
        padded = {"a": np.pad(a, rest, mode="reflect"), "b": np.pad(b, rest, mode="reflect")}
        f = run(method, **padded)[:height, :width]
        return run("tone", fused=f) if method == "default" else f

    return fused


def on_page(page: Any, method: str, files: tuple[str, str]) -> tuple[np.ndarray, float]:
    """The picture downloaded from the page, and the seconds until it is available."""
    page.reload()
    page.wait_for_selector("#method option", state="attached")
    page.select_option("#method", method)
    page.set_input_files("#file-a", files[0])
    began = time.monotonic()
    page.set_input_files("#file-b", files[1])
    page.wait_for_selector("#result:not([hidden])", timeout=600_000)
    seconds = time.monotonic() - began
    with page.expect_download() as download:
        page.click("#save")
    with Image.open(BytesIO(Path(download.value.path()).read_bytes())) as image:
        return np.asarray(image.convert("RGB")), seconds


def _differs(levels: np.ndarray) -> str:
    return f"{levels.max():.3g} (beyond 1: {(levels > 1.001).sum()} pixels)"


def compare(site: Path, *files: str) -> None:
    """Print a line for each pair and method."""
    runtime = by_runtime(site)
    methods = [name for name in ("default", "dmfuse") if (site / f"graphs/{name}.onnx").is_file()]
    with site_server(site, 0) as server, sync_playwright() as play:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chromium = shutil.which("chromium")
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        for pair in zip(files[::2], files[1::2], strict=True):
            for method in methods:
                name = "ddfm" if method == "default" else method
                how = {"method": name, "task": "ir-visible", "dtype": "float32", "device": "cpu"}
                began = time.monotonic()
                expected = ddfm.fuse(*pair, tile=0, **how)
                seconds = [time.monotonic() - began]
                # In grey, as for the runtime, and in colour, as for the page.
                luma = ddfm.fuse(*pair, tile=0, color="grey", **how).picture.pixels[..., 0]
                planes = [np.asarray(grey(ddfm.read_image(p))) for p in pair]
                began = time.monotonic()
                plain = np.abs(runtime(method, *planes) - luma) * 255
                seconds.append(time.monotonic() - began)
                picture, last = on_page(page, method, pair)
                whole = expected.image.reshape(*picture.shape[:2], -1)[..., :3].astype(int)
                in_page = np.abs(picture.astype(int) - whole).max(axis=2)
                took = ", ".join(f"{s:.1f}" for s in [*seconds, last])
                size = f"{luma.shape[1]} x {luma.shape[0]}"
                print(
                    f"{Path(pair[0]).name} {size} {method}: runtime {_differs(plain)}, "
                    f"page {_differs(in_page)}; {took} s",
                    flush=True,
                )
        browser.close()
        server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("files", nargs="+", help="infrared, visible, infrared, visible, ...")
    args = parser.parse_args()
    if len(args.files) % 2:
        parser.error("files come in pairs: infrared, visible, ...")
    compare(args.site, *args.files)


if __name__ == "__main__":
    main()
