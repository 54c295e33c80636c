"""Frames denoised over time: without trails, and with one scale for all."""

from __future__ import annotations

import numpy as np
import pytest

from ddfm.imaging.picture import from_array
from ddfm.video.denoising import CommonScale, TemporalDenoiser
from film_files import H, W, noisy, rms, scene


def steadied(frames) -> list[np.ndarray]:
    denoise = TemporalDenoiser()
    return [255 * denoise(from_array(frame)).pixels.squeeze() for frame in frames]


@pytest.mark.parametrize("sigma", [3, 12])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_is_averaged_over_time(sigma, channels):
    clean = np.dstack([scene(k) for k in range(channels)]).squeeze()
    frames = [noisy(clean, k, sigma) for k in range(16)]
    results = steadied(frames)
    assert np.array_equal(results[0], frames[0])
    assert rms(results[-1] - clean) < 0.45 * sigma


def test_moving_objects_leave_no_trail():
    """Neither the object nor what it uncovers is further from the truth than the frame's noise."""
    y, x = np.mgrid[:H, :W]
    frames, truths, places = [], [], []
    for k in range(12):
        place = np.hypot(y - H / 2, x - 5 * k) < 6
        truths.append(np.where(place, 220.0, scene()))
        places.append(place)
        frames.append(noisy(truths[-1], k))
    for k, result in enumerate(steadied(frames)):
        lately = np.any(places[max(k - 3, 0) : k + 1], axis=0)
        assert rms((result - truths[k])[lately]) < 1.15 * 8
        assert abs(np.mean((result - truths[k])[lately])) < 3


def test_after_a_cut_no_earlier_frame_is_visible():
    first = [noisy(scene(0), k) for k in range(6)]
    second = [noisy(scene(3, 30, 230), k) for k in range(6, 16)]
    results = steadied(first + second)
    wrong = rms(second[0] - scene(3, 30, 230))
    assert rms(results[6] - second[0]) < 2  # scenes that cross are equal somewhere
    assert rms(results[6] - scene(3, 30, 230)) < 1.05 * wrong
    assert rms(results[-1] - scene(3, 30, 230)) < 0.5 * wrong


def test_a_black_beginning_does_not_affect_later_frames():
    frames = [np.zeros((H, W), np.uint8)] * 3 + [noisy(scene(), k) for k in range(12)]
    assert rms(steadied(frames)[-1] - scene()) < 0.45 * 8


def test_frames_may_change_their_size_or_get_colours():
    grey, color = noisy(scene(), 0), np.dstack([noisy(scene(k), k) for k in range(3)])
    frames = [grey, color, grey, grey[:20]]
    results = steadied(frames)
    assert [r.shape for r in results] == [(H, W), (H, W, 3), (H, W, 3), (20, W)]
    assert np.array_equal(results[1], color) and np.array_equal(results[3], grey[:20])


def test_degrees_have_one_scale_in_all_frames():
    """Otherwise, each frame would be scaled from its own coldest to its own hottest value."""
    clean = scene(0, 10, 20)
    hot = clean.copy()
    hot[:10, :10] = 60
    scale = CommonScale()
    frames = [scale(from_array(degrees)) for degrees in (clean, hot, clean)]
    assert frames[1].range == frames[2].range == (10, 60)
    for frame, degrees in zip(frames, (clean, hot, clean), strict=True):
        low, high = frame.range
        assert np.allclose(low + frame.pixels[..., 0] * (high - low), degrees, atol=1e-4)
    rng = np.random.default_rng(0)
    scale, denoise = CommonScale(), TemporalDenoiser()
    for k in range(12):
        degrees = (hot if k == 8 else clean) + rng.normal(0, 0.3, clean.shape)
        frame = denoise(scale(from_array(degrees)))
    low, high = frame.range
    assert rms(low + frame.pixels[..., 0] * (high - low) - clean) < 0.2
