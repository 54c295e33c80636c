"""The widget of napari, without napari: its manifest, and its function applied to layers."""

from __future__ import annotations

import inspect
import json
from importlib import import_module
from typing import get_args

import numpy as np
import pytest

import ddfm
from ddfm.config import COLORS, TASKS, FusionConfig
from ddfm.errors import DdfmError
from ddfm.napari.widget import fuse_layers
from places import ROOT

SETUP = (ROOT / "setup.cfg").read_text()


class Layer:
    """The used part of `napari.layers.Image`."""

    multiscale = False

    def __init__(self, data: np.ndarray, name: str, scale: float = 1.0) -> None:
        self.data, self.name, self.rgb = data, name, data.ndim == 3 and data.shape[2] in (3, 4)
        self.scale, self.translate = (scale, scale), (0.0, 0.0)


def picture(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_the_manifest_leads_to_the_function():
    """(`npe2 validate`, in the workflow, says that napari understands it.)"""
    manifest = json.loads((ROOT / "ddfm" / "napari" / "napari.json").read_text())["contributions"]
    (command,), (widget,) = manifest["commands"], manifest["widgets"]
    module, _, name = command["python_name"].partition(":")
    assert getattr(import_module(module), name) is fuse_layers
    assert widget["command"] == command["id"] and widget["autogenerate"]
    assert "napari.manifest =\n    ddfm = ddfm.napari:napari.json" in SETUP
    assert "ddfm.napari = *.json" in SETUP


def test_fields_have_the_choices_and_defaults_of_the_configuration():
    parameters = inspect.signature(fuse_layers).parameters
    for name in ("task", "method", "balance", "color"):
        assert parameters[name].default == getattr(FusionConfig(), name)
    assert set(get_args(parameters["task"].annotation)) == {"auto", *TASKS}
    assert set(get_args(parameters["color"].annotation)) == set(COLORS)
    _, field = get_args(parameters["balance"].annotation)
    assert (field["min"], field["max"]) == (-1, 1)
    assert parameters["visible"].annotation == "napari.layers.Image"


def test_two_layers_are_fused():
    a, b = picture(0, 32, 40), picture(1, 32, 40, 4)
    image, about, kind = fuse_layers(
        Layer(a, "ir"), Layer(b, "vis", 0.5), "ir-visible", balance=0.5
    )
    expected = ddfm.fuse(a, b[..., :3], task="ir-visible", balance=0.5)
    np.testing.assert_array_equal(image, expected.image)
    assert kind == "image" and about["name"] == "ir + vis" and about["rgb"]
    assert about["scale"] == (0.5, 0.5)
    assert about["metadata"]["ddfm"]["task"] == "ir-visible"


def test_the_new_layer_is_placed_on_the_finer_one():
    small, large = Layer(picture(0, 24, 32), "small", 2.0), Layer(picture(1, 48, 64), "large", 1.0)
    for pair in ((small, large), (large, small)):
        image, about, _ = fuse_layers(*pair)
        assert image.shape[:2] == (48, 64) and about["scale"] == (1.0, 1.0) and not about["rgb"]


def test_stacks_are_refused_in_one_line():
    with pytest.raises(DdfmError, match="stack has 3 axes, and only single images"):
        fuse_layers(Layer(picture(0, 5, 32, 40), "stack"), Layer(picture(1, 32, 40), "vis"))
