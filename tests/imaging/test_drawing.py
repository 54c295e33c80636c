"""What drawings have in common: the numbers of a scale."""

from __future__ import annotations

import pytest

from ddfm.imaging.drawing import tick_labels


@pytest.mark.parametrize(
    ("limits", "labels"),
    [
        ((0, 100), "0 25 50 75 100"),
        ((15, 40), "15.0 21.2 27.5 33.8 40.0"),  # whole degrees would be half a degree off
        ((24.46, 25.42), "24.46 24.70 24.94 25.18 25.42"),
        ((0, 0.004), "0.000 0.001 0.002 0.003 0.004"),
        ((7, 7), "7 7 7 7 7"),
        ((-0.3, 100), "0 25 50 75 100"),
    ],
)
def test_numbers_of_a_scale_are_right_to_half_a_percent_of_it(limits, labels):
    assert tick_labels(*limits) == labels.split()
