"""Earlier enlargement is detected, by Pillow or OpenCV, and only there."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from ddfm import Fuser, Observation
from ddfm.errors import DdfmWarning
from ddfm.restoration.enlarged import find_coarse, taken_back
from degraded import example

NAMES = "olinda_infrared", "olinda_visible", "brain_t1", "brain_pd"
SIZE = 252, 336  # of which there are halves, thirds and quarters


def enlarged(plane: np.ndarray, times: float, way: Image.Resampling) -> Image.Image:
    """A picture of `SIZE` that was enlarged by this factor."""
    whole = Image.fromarray(plane[: SIZE[0], : SIZE[1]])
    small = whole.resize([round(n / times) for n in whole.size], Image.Resampling.BOX)
    return small.resize(whole.size, way)


def levels(image: Image.Image | np.ndarray) -> np.ndarray:
    return np.asarray(image, np.float32) / 255


@pytest.mark.parametrize("way", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize("times", [2, 2.5, 3, 4])
def test_the_original_size_is_found(way, times):
    found = find_coarse(levels(enlarged(example("olinda_infrared"), times, way)))
    assert found == (round(252 / times), round(336 / times))


def test_the_original_size_is_found_after_an_enlargement_by_opencv():
    cv2 = pytest.importorskip("cv2")
    small = example("olinda_infrared")[:240, :320]
    wide = cv2.resize(small, (960, 720), interpolation=cv2.INTER_CUBIC)
    assert find_coarse(levels(wide)) == (240, 320)


def test_waves_along_one_side_are_enough():
    """A scene that is smooth along its columns shows hardly any waves along the other side."""
    smooth = ndimage.gaussian_filter1d(example("olinda_infrared").astype(float), 2, axis=0)
    wide = enlarged(smooth.astype(np.uint8), 4, Image.Resampling.BICUBIC)
    assert find_coarse(levels(wide)) == (63, 84)


@pytest.mark.parametrize("times", [2.5, 3, 4])  # by 2, only most of them
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_the_original_size_is_found_in_each_example(name, times, mode):
    """By PyTorch, whose kernels are OpenCV's; the background of a slice clips the bicubic one."""
    whole = Image.fromarray(example(name)[: SIZE[0], : SIZE[1]])
    small = whole.resize([round(n / times) for n in whole.size], Image.Resampling.BOX)
    x = torch.from_numpy(np.asarray(small, np.float32))[None, None]
    wide = torch.nn.functional.interpolate(x, whole.size[::-1], mode=mode)[0, 0]
    assert find_coarse(levels(wide.round().clamp(0, 255).numpy())) == small.size[::-1]


@pytest.mark.parametrize("name", NAMES)
def test_scenes_and_blurred_scenes_are_not_detected_as_enlarged(name):
    plane = example(name)
    assert find_coarse(levels(plane)) is None
    for sigma in (0.8, 1.5, 3):
        blurred = ndimage.gaussian_filter(plane.astype(float), sigma).astype(np.uint8)
        assert find_coarse(levels(blurred)) is None
        buffer = io.BytesIO()  # blocks make waves, too
        Image.fromarray(blurred).save(buffer, "JPEG", quality=90)
        assert find_coarse(levels(Image.open(buffer))) is None


def test_the_original_picture_is_recovered():
    small = Image.fromarray(example("olinda_infrared")[:120, :160])
    wide = levels(small.resize((400, 300), Image.Resampling.BICUBIC))
    y, left = taken_back(torch.from_numpy(2 * wide - 1)[None, None], (120, 160))
    error = 127.5 * (y[0, 0].numpy() + 1) - np.asarray(small, float)
    assert np.sqrt((error**2).mean()) < 1.5 and left < 1 / 127.5


def test_an_enlarged_source_is_restored_with_a_warning():
    infrared, visible = (example(f"olinda_{name}")[:252, :336] for name in ("infrared", "visible"))
    wide = np.asarray(enlarged(infrared, 3, Image.Resampling.BILINEAR))
    fuser = Fuser("gaussian", device="cpu", look=False)
    fuser = fuser.with_config(observations=[Observation(noise=0), None])
    with pytest.warns(DdfmWarning, match=r"was enlarged by a factor of 3 .*\(--scale-a 1\)"):
        fusion = fuser(wide, visible)
    with pytest.warns(DdfmWarning, match=r"was enlarged by a factor of 3 .*\(--as-is\)"):
        fuser(visible, visible, wide)
    assert fusion.settings["observed"][0] == {"enlarged": 3.0, "scale": 3.0}
    left = fuser.with_config(observations=[Observation(scale=1), None])(wide, visible)
    assert np.array_equal(left.sources[0].pixels[..., 0], levels(wide))
    error = [
        np.square(one.sources[0].pixels[..., 0] - levels(infrared)).mean() for one in (fusion, left)
    ]
    assert error[0] < error[1] / 1.15
