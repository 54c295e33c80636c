"""Metrics of bright things, on pictures for which the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ddfm.errors import DdfmError
from ddfm.metrics import evaluate, known_metrics, pooled

NAMES = known_metrics(["targets_kept", "targets_lost", "lights_kept", "lights_lost"])
GROUND, HOT = 60.0, 220.0


def squares(*places: tuple[int, int], side: int = 8, level: float = HOT) -> np.ndarray:
    """A dark picture of 128 x 160 pixels with bright squares in it."""
    image = np.full((128, 160), GROUND)
    for top, left in places:
        image[top : top + side, left : left + side] = level
    return image


def measured(fused: np.ndarray, infrared: np.ndarray, visible: np.ndarray) -> dict[str, float]:
    return evaluate(fused, infrared, visible, metrics=NAMES)


@pytest.mark.parametrize(("share", "lost"), [(1.0, 0), (1.5, 0), (0.21, 0), (0.19, 1), (-1.0, 1)])
def test_the_kept_contrast_of_a_target_does_not_depend_on_its_levels(share, lost):
    infrared = squares((40, 50), level=140)
    values = measured(100 + share * (infrared - GROUND), infrared, squares())
    assert values["targets"] == 1
    assert values["targets_kept"] == pytest.approx(share) and values["targets_lost"] == lost


def test_each_target_counts_once_and_lost_ones_too():
    infrared = squares((20, 20), (20, 60), (20, 100), (80, 20))
    fused = squares((20, 20), (20, 60), (20, 100))
    values = measured(fused, infrared, squares())
    assert values["targets"] == 4
    assert values["targets_kept"] == pytest.approx(0.75)
    assert values["targets_lost"] == pytest.approx(0.25)


def test_specks_and_large_areas_are_no_targets():
    """Targets have from 25 pixels to 2 % of the picture: no hot pixels, no warm walls."""
    for side, number in ((1, 0), (8, 1), (17, 1), (24, 0)):
        infrared = np.maximum(squares((80, 100)), squares((20, 20), side=side))
        assert measured(infrared, infrared, squares())["targets"] == 1 + number, side
    nothing = measured(squares(), squares((40, 50), side=24), squares())
    assert nothing["targets"] == 0
    assert math.isnan(nothing["targets_kept"]) and math.isnan(nothing["targets_lost"])


def test_a_neighbouring_target_is_not_part_of_the_surround():
    """Two neighbouring targets, both lost in white: their contrast is measured between them."""
    infrared = squares((40, 50), (40, 62))
    values = measured(infrared, infrared, squares())
    assert values["targets"] == 2 and values["targets_kept"] == pytest.approx(1)


def test_lights_are_bright_in_the_visible_image_alone():
    lamp, engine = (20, 20), (80, 100)
    visible = squares(lamp, engine, level=200)
    infrared = squares(engine)
    values = measured(visible, infrared, visible)
    assert values["targets"] == values["lights"] == 1
    assert values["lights_kept"] == pytest.approx(1) and values["lights_lost"] == 0
    gone = measured(infrared, infrared, visible)
    assert gone["lights_kept"] == pytest.approx(0, abs=1e-12) and gone["lights_lost"] == 1
    assert gone["targets_kept"] == pytest.approx(1)


def test_pictures_are_pooled_over_their_targets():
    one = measured(squares((40, 50)), squares((40, 50)), squares())
    three = measured(squares(), squares((20, 20), (20, 60), (80, 20)), squares())
    none = measured(squares(), squares(), squares())
    row = pooled([one | {"EN": 3.0}, three | {"EN": 6.0}, none | {"EN": 6.0}])
    assert row["targets"] == 4
    assert row["targets_kept"] == pytest.approx(0.25)
    assert row["targets_lost"] == pytest.approx(0.75)
    assert row["EN"] == pytest.approx(5)
    assert math.isnan(pooled([none])["targets_kept"])
    with pytest.raises(DdfmError, match="lights_lost is a mean over lights; give their number"):
        pooled([{"EN": 3.0, "lights_lost": 0.5}])


def test_they_are_computed_for_their_task_or_if_named():
    images = squares((40, 50)), squares((40, 50)), squares()
    assert "targets" not in evaluate(*images) and "targets" in evaluate(*images, task="ir-visible")
    assert list(evaluate(*images, metrics=["Targets_Kept"])) == ["targets", "targets_kept"]
    with pytest.raises(DdfmError, match="did you mean ir-visible"):
        evaluate(*images, task="ir-visble")
