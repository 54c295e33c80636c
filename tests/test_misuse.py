"""Every public function, with every argument wrong in turn: a result, or one DdfmError of one line.

The calls are made by the signatures, so that a new argument is tried without being named here.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ddfm
import ddfm.metrics
from ddfm.volumes.volume import Volume
from flir_files import flir_jpeg
from image_files import folders_of_noise

GREY, OTHER = np.random.default_rng(0).integers(0, 256, (2, 16, 16), np.uint8)
QUICK: dict[str, Any] = {"likelihood": "paper", "steps": 1, "device": "cpu"}


class Odd:
    """An object of no use anywhere."""

    def __repr__(self) -> str:
        return "Odd()"


WRONG: dict[str, Any] = {
    "None": None,
    "a flag": True,
    "a number": 3.5,
    "a negative number": -1,
    "a large number": 10**400,
    "nan": float("nan"),
    "infinity": float("inf"),
    "a word": "nonsense",
    "no word": "",
    "a word with a zero": "a\0b",
    "bytes": b"bytes",
    "a list": [],
    "a list of words": ["a", "b"],
    "a dictionary": {},
    "a dictionary of odd keys": {3: "x"},
    "a tuple": (),
    "three numbers": (1.0, 2.0, 3.0),
    "two numbers, turned": (5.0, 2.0),
    "a tuple of nothing": (None, None),
    "an object": Odd(),
    "a class": Odd,
    "a function": len,
    "a path": Path("nowhere/at all"),
    "an empty array": np.zeros((0, 0)),
    "a number in an array": np.array(3.0),
    "a vector": np.zeros(7),
    "an array of five axes": np.zeros((2, 2, 2, 2, 2)),
    "an array of another size": np.zeros((5, 9)),
    "complex numbers": np.zeros((16, 16), complex),
    "words in an array": np.array([["a"] * 16] * 16),
    "objects in an array": np.full((16, 16), None),
    "not finite": np.full((16, 16), np.nan),
    "records": np.zeros((16, 16), [("x", "f4")]),
    "a masked array": np.ma.masked_less(GREY, 9),
    "a tensor": torch.zeros(2, 2, 2, 2),
    "a sparse tensor": torch.eye(16).to_sparse(),
    "a complex tensor": torch.zeros(16, 16, dtype=torch.complex64),
    "a tensor without numbers": torch.zeros(16, 16, device="meta"),
    "an image of nothing": Image.new("L", (0, 0)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One of everything that a path can lead to."""
    folder = tmp_path_factory.mktemp("misuse")
    folders_of_noise(folder, range(2), (16, 16), ("ir", "vi"))
    (folder / "flir").mkdir()
    rng = np.random.default_rng(0)
    raw = 17000 + rng.integers(0, 500, (12, 16)).astype(np.uint16)
    photograph = rng.integers(0, 256, (24, 32, 3), np.uint8)
    (folder / "flir" / "a.jpg").write_bytes(flir_jpeg(raw, photograph, (1.0, 0, 0)))
    return folder


def calls(folder: Path) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Each public function, with arguments that it takes; the rest is by default."""
    fuser = ddfm.Fuser("gaussian", **QUICK)
    late = ddfm.Fuser("gaussian", **QUICK, start=100)
    fusion = fuser(GREY, OTHER)
    picture = ddfm.read_image(GREY)
    number = itertools.count()

    def new(name: str) -> Path:
        return folder / "out" / f"{next(number)}{name}"

    (folder / "out").mkdir(exist_ok=True)
    block = np.random.default_rng(0).random((6, 5, 4)).astype(np.float32)
    one, other = (Volume(x, np.eye(4)) for x in (block, block[::-1].copy()))
    films: dict[str, Any] = {"a": folder / "ir", "b": folder / "vi"}
    made: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
        "Fuser": (ddfm.Fuser, {"prior": "gaussian", **QUICK}),
        "Fuser.__call__": (lambda a, b, **k: late(a, b, **k), {"a": GREY, "b": OTHER}),
        "Fuser.batch": (
            lambda groups, **k: fuser.batch(groups, **k),
            {"groups": [(GREY, OTHER)], "together": 1},
        ),
        "Fuser.with_shared_estimates": (fuser.with_shared_estimates, {"groups": [(GREY, OTHER)]}),
        "Fuser.settings": (fuser.settings, {"task": "medical"}),
        "Fusion.save": (lambda path: fusion.save(path), {"path": new(".png")}),
        "Fusion.save_steps": (lambda folder: fusion.save_steps(folder), {"folder": new("")}),
        "fuse": (
            lambda a, b, **k: ddfm.fuse(a, b, **k),
            {"a": GREY, "b": OTHER, "prior": "gaussian", **QUICK},
        ),
        "load_prior": (ddfm.load_prior, {"x": "gaussian"}),
        "read_image": (ddfm.read_image, {"source": GREY}),
        "write_image": (
            ddfm.write_image,
            {"path": new(".png"), "pixels": picture.pixels, "like": picture},
        ),
        "read_flir": (ddfm.read_flir, {"path": folder / "flir" / "a.jpg"}),
        "fuse_folders": (
            ddfm.fuse_folders,
            {"dir_a": folder / "ir", "dir_b": folder / "vi", "out": new(""), "fuser": fuser},
        ),
        "fuse_flir": (
            ddfm.fuse_flir,
            {"folder": folder / "flir", "out": new(""), "fuser": fuser},
        ),
        "fuse_sequence": (ddfm.fuse_sequence, {**films, "out": new(""), "fuser": fuser}),
        "fuse_volumes": (ddfm.fuse_volumes, {"a": one, "b": other, "fuser": fuser}),
        "metrics.evaluate": (
            lambda fused, a, b, **k: ddfm.metrics.evaluate(fused, a, b, **k),
            {"fused": GREY, "a": GREY, "b": OTHER, "ssim_range": 2.0, "metrics": ["EN"]},
        ),
        "metrics.known_metrics": (ddfm.metrics.known_metrics, {"names": ["EN"]}),
        "metrics.as_grey": (ddfm.metrics.as_grey, {"image": GREY}),
    }
    for name in ddfm.metrics.__all__:
        metric = getattr(ddfm.metrics, name)
        if callable(metric) and f"metrics.{name}" not in made:
            made[f"metrics.{name}"] = (_metric(metric), {"fused": GREY, "a": GREY, "b": OTHER})
    return made


def _metric(metric: Callable[..., Any]) -> Callable[..., Any]:
    takes = list(inspect.signature(metric).parameters.values())
    sources = sum(2 if p.kind == p.VAR_POSITIONAL else 1 for p in takes if p.default is p.empty) - 1

    def call(fused: Any, a: Any, b: Any, **more: Any) -> Any:
        return metric(fused, *(a, b)[:sources], **more)

    own = [p for p in takes if p.default is not p.empty]
    call.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
    return call


def arguments(call: Callable[..., Any], given: dict[str, Any]) -> list[str]:
    """The names of all arguments, given or not."""
    names = list(given)
    for name, parameter in inspect.signature(call).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            names += [name] if name not in names else []
    return names


THEIRS = ("callback", "likelihood", "sampler")
EXTRA = {
    "Fuser.__call__": ["progress", "callback", "trajectory", "first_guess"],
    "Fuser.batch": ["progress", "callback", "trajectory"],
    "fuse": ["task", "options", "seed", "tile", "color", "resize", "trajectory"],
    "read_flir": [],
    "fuse_flir": ["celsius", "percentiles", "align", "grid"],
    "load_prior": ["T", "schedule", "betas", "num_heads", "spectrum", "channels", "mean", "std"],
}


def misuses(folder: Path) -> Iterator[tuple[str, str, str, Callable[[], Any]]]:
    for function, (call, given) in calls(folder).items():
        for argument in [*arguments(call, given), *EXTRA.get(function, [])]:
            for what, value in WRONG.items():
                if argument in THEIRS and callable(value):
                    continue  # what a function of the caller's raises is the caller's
                yield (
                    function,
                    argument,
                    what,
                    lambda c=call, g=given, k=argument, v=value: c(**(g | {k: v})),
                )


@pytest.mark.filterwarnings("ignore:Casting complex values")  # by torch, of odd schedules
def test_misuse_ends_in_a_result_or_one_error(folder, monkeypatch):
    monkeypatch.chdir(folder / "out" if (folder / "out").exists() else folder)
    bad = []
    for function, argument, what, call in misuses(folder):
        try:
            call()
        except ddfm.DdfmError as error:
            if "\n" in str(error) or len(str(error)) > 600:
                bad.append(f"{function}({argument}={what}): {str(error)[:300]!r}")
        except Exception as error:
            bad.append(f"{function}({argument}={what}): {type(error).__name__}: {error}"[:200])
    assert not bad, "\n".join(bad)


def test_an_unknown_keyword_is_refused_as_by_any_function():
    with pytest.raises(TypeError, match=r"^fuse_volumes\(\) got an unexpected keyword .*'algn'"):
        ddfm.fuse_volumes(GREY, OTHER, algn="rigid")


def test_a_likelihood_without_options_says_so():
    class Mean(ddfm.Likelihood):
        def step(self, f, sigma):
            return (self.i + self.v) / 2

    with pytest.raises(ddfm.InputError, match="unknown option .* 'eta'; there is none"):
        ddfm.fuse(GREY, OTHER, likelihood=Mean, options={"eta": 1.0})


def test_a_picture_is_not_enlarged_beyond_the_limit_to_align_it(monkeypatch):
    """A strip and a square of a few kilobytes would ask for gigabytes."""
    monkeypatch.setenv("DDFM_MAX_MEGAPIXELS", "0.1")
    strip = np.tile(OTHER, (1, 25))
    with pytest.raises(ddfm.InputError, match="it would be enlarged to 400 x 400 pixels"):
        ddfm.fuse(GREY, strip, prior="gaussian", align="shift")
