"""Builds the site: the page, the graphs, and the runtime that executes them in the browser.

The site is a folder of files that any static host can serve. The page is part of ddfm; the graphs
are made by `ddfm export`; the runtime is the npm package onnxruntime-web (MIT licence), which the
user provides.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from ddfm.errors import InputError, StorageError, missing_extra
from ddfm.progress import lines_where_no_bar_is
from ddfm.storage.atomic import atomic_folder
from ddfm.storage.files import make_folder, write_bytes, write_json
from ddfm.storage.inputs import existing_file

__all__ = ["build_site", "check_site"]

METHODS = ("default", "dmfuse")
HELPERS = ("tone", "noise", "color")
GRAPHS = (*METHODS, *HELPERS)
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
OFFLINE = "offline.js"
PAGE = (
    "index.html",
    "page.css",
    "page.js",
    "pixels.js",
    "exif.js",
    "worker.js",
    "reading.js",
    "aligning.js",
    "laying.js",
    "gaps.js",
    "colors.js",
    OFFLINE,
    "icon.svg",
)
# Most pixels at which a pair is fused. A program in a browser has at most 4 GB of memory, of which
# `default` takes 0.6 per million pixels, and `dmfuse` 5.2.
PIXELS = {"default": 4_000_000, "dmfuse": 600_000}
LEAST = 32  # shortest side of an image in pixels, as for the graphs
NO_RUNTIME = "; --runtime is the folder dist of the npm package: npm install onnxruntime-web"


def build_site(folder: Path, runtime: Path, graphs: Path | None = None) -> None:
    """Builds the site in a new folder, which appears once it is complete.

    Args:
        folder: the folder to make.
        runtime: the folder `dist` of onnxruntime-web.
        graphs: a folder with graphs from `ddfm export`, where one of the two methods may be
            missing; None makes all graphs, which takes minutes.
    """
    if folder.exists():
        raise StorageError(f"cannot write {folder}: it exists already; name a new folder")
    for name in RUNTIME:
        if not (runtime / name).is_file():
            raise InputError(f"there is no {name} in {runtime}{NO_RUNTIME}")
    contents = {
        name: files("ddfm.web").joinpath("page").joinpath(name).read_bytes() for name in PAGE
    }
    contents |= {f"ort/{name}": existing_file(runtime / name).read_bytes() for name in RUNTIME}
    found = _made() if graphs is None else _found(graphs)
    contents |= {f"graphs/{name}.onnx": data for name, data in found.items()}
    about = _about(contents, found)
    # So that its bytes differ, by which browsers notice a new site.
    contents[OFFLINE] = contents[OFFLINE].replace(b"'VERSION'", f"'{about['version']}'".encode())
    with atomic_folder(folder) as new:
        for part in ("ort", "graphs"):
            make_folder(new / part)
        for name, data in contents.items():
            write_bytes(new / name, data)
        write_json(new / "site.json", about)


def check_site(folder: Path) -> None:
    """Raise unless the folder holds a site."""
    if not (folder / "site.json").is_file() or not (folder / PAGE[0]).is_file():
        raise InputError(f"{folder} is not a site of ddfm, which --runtime builds{NO_RUNTIME}")


def _found(folder: Path) -> dict[str, bytes]:
    found = {
        name: path.read_bytes() for name in GRAPHS if (path := folder / f"{name}.onnx").is_file()
    }
    for name in HELPERS:
        if name not in found:
            raise InputError(f"there is no {name}.onnx in {folder}; ddfm export {name} writes it")
    if not any(name in found for name in METHODS):
        raise InputError(
            f"there is no graph of a method in {folder}; ddfm export default writes one"
        )
    return found


def _made() -> dict[str, bytes]:
    from ddfm.export.onnx import exported

    made = {}
    with lines_where_no_bar_is(None, total=len(GRAPHS), desc="graphs made: ") as bar:
        for name in GRAPHS:
            made[name] = exported(name)
            bar.update()
    return made


def _about(contents: dict[str, bytes], graphs: dict[str, bytes]) -> dict[str, Any]:
    """What the page has to know: which graphs there are, and the input that each needs."""
    digest = hashlib.sha256()
    for data in contents.values():
        digest.update(data)
    inputs = {name: _metadata(graphs[name]) for name in METHODS if name in graphs}
    return {
        "version": f"ddfm-{digest.hexdigest()[:16]}",
        "files": [*contents, "site.json"],
        "graphs": {
            # dmfuse includes its tone.
            name: {"pad": int(each["pad"]), "tone": name == "default", "pixels": PIXELS[name]}
            for name, each in inputs.items()
        },
        "clean": max(float(each["clean"]) for each in inputs.values()),
        "least": LEAST,
    }


def _metadata(graph: bytes) -> dict[str, str]:
    try:
        import onnx
    except ImportError as error:
        raise missing_extra("onnx", "export", "a site", error) from None
    return {each.key: each.value for each in onnx.load_from_string(graph).metadata_props}
