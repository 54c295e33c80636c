"""Observations that are given: those that make no sense are refused."""

from __future__ import annotations

import pytest
from PIL import Image

from ddfm import DdfmError, Fuser
from degraded import INFRARED, VISIBLE


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"scale": 0.5}, "scale must be 1 or more"),
        ({"blur": -1}, "blur must be a number from 0 to 50"),
        ({"blur": [1, 2, 3]}, "length and angle"),
        ({"blur": ""}, "length and angle"),
        ({"blur": "a\0b"}, "blur must be a path"),
        ({"blur": [3, "x"]}, "the angle of a blur must be a number"),
        ({"mask": 3}, "mask must be a path"),
        ({"noise": "much"}, "noise must be a finite number"),
        ({"noise": ["rice", 3]}, "did you mean rician"),
        ({"noise": ["rician", 3, 4]}, "noise rician takes its standard deviation"),
        ({"noise": ["poisson", 0]}, "noise poisson must be a finite number above 0"),
        ({"stripes": "diagonal"}, "unknown stripes 'diagonal'"),
        ({"jpeg": 101}, "quality from 1 to 100"),
        ({"blurr": 1}, "unknown setting of an observation 'blurr'; did you mean blur"),
        ("noise", "an observation is an Observation"),
    ],
)
def test_invalid_observations_are_refused(given, why):
    with pytest.raises(DdfmError, match=why):
        Fuser("gaussian", observations=[given])


def test_more_observations_than_sources_are_refused(fuser):
    with pytest.raises(DdfmError, match="there are 3 observations for 2 sources"):
        fuser.with_config(observations=[{"noise": 1}, {}, {}])(INFRARED, VISIBLE)


def test_a_mask_that_leaves_nothing_is_refused(fuser, tmp_path):
    Image.new("L", INFRARED.shape[::-1]).save(tmp_path / "mask.png")
    given = [{"mask": str(tmp_path / "mask.png")}, None]
    with pytest.raises(DdfmError, match=r"mask\.png leaves nothing of .* has 0 % of white"):
        fuser.with_config(observations=given)(INFRARED, VISIBLE)
    Image.new("L", (9, 8)).save(tmp_path / "mask.png")
    with pytest.raises(DdfmError, match=r"mask\.png has 9 x 8 pixels, and .*; they must"):
        fuser.with_config(observations=given)(INFRARED, VISIBLE)
