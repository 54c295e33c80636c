"""Texts to damage, by characters and by meaning: settings, manifests, configurations."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ddfm.bench.methods import configured, read_configs
from ddfm.storage.manifest import NAME, Manifest

__all__ = ["odd_json", "text_files"]

Made = tuple[str, str, bytes, Callable[[Path], None], Callable[..., bytes]]

# What stands where something else belongs.
ODD = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    10**6,
    10**30,
    0.5,
    1e308,
    -1e-308,
    float("inf"),
    float("nan"),
]
ODD += ["", "x", "a" * 10_000, "\0", "../x", "ddim", [], [1], [[1]], [0.5] * 50, {}, {"x": 1}]
ODD += ["[" * 2_000 + "]" * 2_000]


def text_files() -> Iterator[Made]:
    """Name, suffix, content, reader, and how its meaning is damaged."""
    line = {
        "output": "0001.png",
        "sha256": "0" * 64,
        "sources": [{"name": "0001.png", "sha256": "1" * 64}],
        "settings": {"ddfm": "0.5.0", "steps": 3, "options": {"gains": [1.0, 1.2]}},
        "film": {"seed": 1},
        "chosen": {"contour": 0.1},
        "task": "ir-visible",
        "seconds": 1.3,
    }
    lines = "\n".join(json.dumps(line | {"output": f"{k}.png"}) for k in range(3)) + "\n"
    yield "manifest", ".jsonl", lines.encode(), read_manifest, odd_lines
    table = '[fast]\nsteps = 3\nlikelihood = "paper"\n[slow]\nsteps = "ddim50"\nseed = 7\n'
    table += 'task = "medical"\n[slow.options]\ngains = [1.0, 1.1]\nkappa = 2.5\n'
    yield "toml", ".toml", table.encode(), read_toml, odd_toml


def read_manifest(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        (Path(folder) / NAME).write_bytes(path.read_bytes())
        (Path(folder) / "1.png").write_bytes(b"a result")
        with Manifest(folder) as manifest:
            for name in ["1.png", *manifest.entries]:
                manifest.get(name)


def read_toml(path: Path) -> None:
    for name, settings in read_configs(path).items():
        configured(name, settings)


def odd_json(rng: np.random.Generator, data: bytes) -> bytes:
    """JSON in which one value is replaced, removed or renamed."""
    content = json.loads(data)
    holders = list(_holders(content))
    holder = holders[int(rng.integers(len(holders)))]
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    key = keys[int(rng.integers(len(keys)))]
    odd = ODD[int(rng.integers(len(ODD)))]
    if rng.random() < 0.1:
        holder["x" if isinstance(holder, dict) else 0] = odd
    elif rng.random() < 0.1:
        del holder[key]
    else:
        holder[key] = odd
    return json.dumps(content).encode()


def _holders(content: Any) -> Iterator[Any]:
    """All objects and lists that are not empty."""
    if isinstance(content, dict | list) and content:
        yield content
        for value in content.values() if isinstance(content, dict) else content:
            yield from _holders(value)


def odd_lines(rng: np.random.Generator, data: bytes) -> bytes:
    lines = data.splitlines()
    at = int(rng.integers(len(lines)))
    lines[at] = odd_json(rng, lines[at])
    return b"\n".join(lines) + b"\n"


def odd_toml(rng: np.random.Generator, data: bytes) -> bytes:
    """TOML in which one value is replaced; most values in JSON are valid TOML, too."""
    lines = data.decode().splitlines()
    places = [k for k, line in enumerate(lines) if "=" in line]
    at = places[int(rng.integers(len(places)))]
    odd = json.dumps(ODD[int(rng.integers(len(ODD)))])
    lines[at] = lines[at].partition("=")[0] + "= " + odd.replace("Infinity", "inf")
    return "\n".join(lines).replace("NaN", "nan").encode()
