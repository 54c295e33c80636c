"""Wrong arguments are refused before any work, by name and in one line."""

from __future__ import annotations

import numpy as np
import pytest

from ddfm import DdfmError, fuse
from scenes import PLAIN, image


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"likelihood": "papr"}, "unknown likelihood 'papr'; did you mean paper"),
        ({"sampler": "dimm"}, "unknown sampler 'dimm'; did you mean ddim"),
        ({"task": "medica"}, "unknown task 'medica'; did you mean medical"),
        ({"color": "gray"}, "unknown colour mode 'gray'; did you mean grey"),
        ({"resize": "A"}, "unknown way to resize 'A'; known: a, auto, b, error"),
        ({"dtype": "float3"}, "unknown dtype 'float3'; did you mean float32"),
        ({"device": "gpu"}, "no device 'gpu' here"),
        ({"device": "meta"}, "no device 'meta' here"),
        ({"prior": "gausian"}, "unknown prior 'gausian'; did you mean gaussian"),
        ({"steps": 0}, "cannot read steps '0'"),
        ({"steps": "many"}, "cannot read steps 'many'"),
        ({"steps": 1001}, "1001 steps, but the schedule has 1000"),
        ({"start": 1000}, "start must be a timestep from 0 to 999, not 1000"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"tile": 100}, "a tile must be at least 128 pixels wide"),
        ({"options": {"fi": 1}}, "unknown option of the likelihood paper 'fi'"),
        ({"options": {"psi": "x"}}, "the option psi must be a finite number, not 'x'"),
        ({"options": {"psi": (1, 2)}}, "the option psi must be a finite number"),
        (
            {"options": {"gains": [5, 1]}},
            "gains must be two numbers above 0, the least gain first, not 5, 1",
        ),
        ({"options": {"gains": [-3, -1]}}, "gains must be two numbers above 0"),
        ({"options": {"spread": -5}}, "the option spread must be a number from 0"),
        ({"clean": -4}, "clean must be a number from 0 to inf, not -4"),
        ({"clean": float("nan")}, "clean must be a number from 0"),
        ({"options": {"gains": 1.0}}, "the option gains must be two numbers, not 1.0"),
        ({"options": {"curve": [1.0]}}, "the option curve must be two or more numbers, not [1.0]"),
        ({"options": {"curve": np.array(1.0)}}, "the option curve must be two or more numbers"),
        ({"options": {"gains": [[1, 2], [3]]}}, "the option gains must be a finite number"),
        (
            {"options": {"psi": 10**400}},
            "the option psi must be a number from -1,000,000 to 1,000,000",
        ),
        ({"options": [1]}, "options must be a dictionary"),
        ({"likelihood": "default", "options": {"alpha": 0}}, "of the likelihood must be positive"),
        ({"likelihood": "default", "options": {"kappa": -1}}, "must not be negative"),
        ({"likelihood": "default", "options": {"saliency": 2}}, "saliency must be a word, not 2"),
        ({"tone": "nice"}, "unknown tone 'nice'; did you mean none?"),
        ({"seed": "abc"}, "the seed must be a whole number from 0 to 2^63 - 1, not 'abc'"),
        ({"seed": None}, "the seed must be a whole number"),
        ({"seed": 1.5}, "the seed must be a whole number"),
        ({"start": "late"}, "start must be a whole number, not 'late'"),
        ({"steps": 2.5}, "steps must be a whole number, not 2.5"),
        ({"tile": "wide"}, "tile must be a whole number, not 'wide'"),
        ({"task": None}, "task must be a word, not None"),
        ({"likelihood": ["paper"]}, "likelihood must be a word, not ['paper']"),
        ({"sampler": 1}, "sampler must be a word, not 1"),
        ({"color": None}, "color must be a word, not None"),
        ({"resize": None}, "resize must be a word, not None"),
        ({"method": None}, "method must be a word, not None"),
        ({"device": None}, "a device is a name such as cpu"),
        ({"dtype": None}, "a dtype is a name such as float32"),
    ],
)
def test_wrong_arguments_are_named(wrong, message):
    arguments = {"prior": "gaussian"} | PLAIN | wrong
    with pytest.raises(DdfmError) as caught:
        fuse(image(0), image(1), **arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)
