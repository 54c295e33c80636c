"""The site: the page, the graphs, and the runtime that the browser runs them with.

It is a folder of files, fit for any static host. The page is part of ddfm; the graphs are made by
`ddfm export`; the runtime is the npm package onnxruntime-web (MIT licence), which the user brings.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from ddfm.errors import InputError, MissingExtra, StorageError
from ddfm.storage.atomic import atomic_folder
from ddfm.storage.files import make_folder, write_bytes, write_json
from ddfm.storage.inputs import existing_file

__all__ = ["build_site", "check_site"]

METHODS = ("default", "dmfuse")
HELPERS = ("tone", "noise", "color")
GRAPHS = (*METHODS, *HELPERS)
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
PAGE = (
    "index.html",
    "page.css",
    "page.js",
    "pixels.js",
    "exif.js",
    "worker.js",
    "offline.js",
    "icon.svg",
)
PIXELS = 4_000_000  # more take more memory than browsers give
LEAST = 32  # pixels along a side, as the graphs have it
NO_RUNTIME = "; it is the folder dist of the npm package: npm install onnxruntime-web"


def build_site(folder: Path, runtime: Path, graphs: Path | None = None) -> None:
    """Makes the folder, which appears whole.

    Args:
        runtime: the folder `dist` of onnxruntime-web.
        graphs: a folder with what `ddfm export` wrote; None has all of it made, which takes
            minutes. One of the two methods may be missing there.
    """
    if folder.exists():
        raise StorageError(f"cannot write {folder}: it is there already; name a new folder")
    for name in RUNTIME:
        if not (runtime / name).is_file():
            raise InputError(f"there is no {name} in {runtime}{NO_RUNTIME}")
    contents = {
        name: files("ddfm.web").joinpath("page").joinpath(name).read_bytes() for name in PAGE
    }
    contents |= {f"ort/{name}": existing_file(runtime / name).read_bytes() for name in RUNTIME}
    found = _made() if graphs is None else _found(graphs)
    contents |= {f"graphs/{name}.onnx": data for name, data in found.items()}
    with atomic_folder(folder) as new:
        for part in ("ort", "graphs"):
            make_folder(new / part)
        for name, data in contents.items():
            write_bytes(new / name, data)
        write_json(new / "site.json", _about(contents, found))


def check_site(folder: Path) -> None:
    """Raise unless this is a site."""
    if not (folder / "site.json").is_file() or not (folder / PAGE[0]).is_file():
        raise InputError(f"{folder} is no site of ddfm; --runtime builds one{NO_RUNTIME}")


def _found(folder: Path) -> dict[str, bytes]:
    found = {
        name: path.read_bytes() for name in GRAPHS if (path := folder / f"{name}.onnx").is_file()
    }
    for name in HELPERS:
        if name not in found:
            raise InputError(f"there is no {name}.onnx in {folder}; ddfm export {name} writes it")
    if not any(name in found for name in METHODS):
        raise InputError(f"there is no method in {folder}; ddfm export default writes one")
    return found


def _made() -> dict[str, bytes]:
    from ddfm.export.onnx import exported

    return {name: exported(name) for name in GRAPHS}


def _about(contents: dict[str, bytes], graphs: dict[str, bytes]) -> dict[str, Any]:
    """What the page has to know: which graphs there are, and how each takes its pictures."""
    digest = hashlib.sha256()
    for data in contents.values():
        digest.update(data)
    told = {name: _metadata(graphs[name]) for name in METHODS if name in graphs}
    return {
        "version": f"ddfm-{digest.hexdigest()[:16]}",
        "files": [*contents, "site.json"],
        "graphs": {
            name: {"pad": int(said["pad"]), "tone": name == "default"}  # dmfuse has its own
            for name, said in told.items()
        },
        "clean": max(float(said["clean"]) for said in told.values()),
        "pixels": PIXELS,
        "least": LEAST,
    }


def _metadata(graph: bytes) -> dict[str, str]:
    try:
        import onnx
    except ImportError:
        raise MissingExtra("onnx", "export", "a site") from None
    return {each.key: each.value for each in onnx.load_from_string(graph).metadata_props}
