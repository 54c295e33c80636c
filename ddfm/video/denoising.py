r"""Denoises the frames of one camera over time: noise is averaged where nothing has changed.

Each pixel has a Kalman filter for a constant level. With s the new frame, m the mean of the frames
before it, noise of variance s2 in each frame, and P s2 the variance of m,

    K = P / (P + 1) = 1/2, 1/3, 1/4, ... while nothing changes, and at least `FLOOR`
    m <- m + K (s - m),    P <- (1 - K)^2 P + K^2

Changes are detected by the squared difference around the pixel,

    e = smooth((s - m)^2 / (1 + P)) / s2,    1 on average if there is only noise.

As e increases from `STILL` to `MOVED`, K rises to 1, which keeps the new frame unchanged. So moving
objects leave no trail, and if the camera moves, or after a cut, frames are not averaged. Noise is
measured in space and in time, and the smaller estimate is used, since texture raises the first and
motion the second.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from ddfm.errors import warn
from ddfm.imaging.levels import spread, used, with_levels
from ddfm.imaging.picture import LUMA, Picture
from ddfm.imaging.sources import grey
from ddfm.numerics.noise_level import noise_level

__all__ = ["CommonScale", "TemporalDenoiser"]

FLOOR = 0.1  # least gain K
STILL, MOVED = 1.6, 3.2  # e up to which a pixel is still, and from which it has changed
REACH = 1.5  # sigma in pixels of the smoothing of e
LEAST = 0.3 / 255  # least noise assumed, that of rounding: with 0, any difference would be a change


class CommonScale:
    """Brings frames of degrees or counts, each scaled by its own minimum and maximum, to one scale.

    Call it with the frames of one camera in order. The scale is widened when a frame exceeds it,
    and never narrowed. So the same temperature has the same level in all frames, until something
    hotter or colder than everything before comes into view.
    """

    def __init__(self) -> None:
        self.range: tuple[float, float] | None = None
        self.first = True

    def __call__(self, frame: Picture) -> Picture:
        if frame.dtype.kind != "f" and frame.range is None:
            return self._spread(frame)
        own = frame.range or (0.0, 1.0)
        known = self.range or own
        self.range = min(own[0], known[0]), max(own[1], known[1])
        if self.range == own:
            return frame
        return spread(frame, self.range)

    def _spread(self, frame: Picture) -> Picture:
        """Stretch frames of 16 bits if the first one uses a small part of the range."""
        own = used(frame)
        if self.first:
            self.first, self.range = False, own
            if own is not None:
                warn(
                    f"{frame.name}: its values, {own[0]:g} to {own[1]:g}, are a small part of 16 "
                    "bits, and are stretched to the whole range, the same in all frames"
                )
        if self.range is None:
            return with_levels(frame, "full")
        if own is not None:
            self.range = min(own[0], self.range[0]), max(own[1], self.range[1])
        return spread(frame, self.range)


class TemporalDenoiser:
    """The filter of one camera. Call it with the camera's frames in order."""

    def __init__(self) -> None:
        self.mean: np.ndarray | None = None  # (H, W, C)
        self.variance = np.zeros(0)  # P, (H, W)
        self.range: tuple[float, float] | None = None  # the values at 0 and 1
        self.noise = 0.0  # of a single frame, a running mean
        self.last: tuple[Picture, Picture] | None = None  # the last frame, and what came of it

    def __call__(self, frame: Picture) -> Picture:
        # A frame that is shown twice, beside a faster camera, tells nothing new.
        if self.last is None or not np.array_equal(self.last[0].pixels, frame.pixels):
            self.last = frame, self._filtered(frame)
        return replace(self.last[1], name=frame.name)

    def _filtered(self, frame: Picture) -> Picture:
        pixels, noise = frame.pixels, _noise(frame)
        if self.mean is not None and self.mean.shape[2] > pixels.shape[2]:
            pixels = np.repeat(pixels, 3, axis=2)  # a grey frame of a colour film
        if self.mean is None or self.mean.shape != pixels.shape:
            self.mean, self.variance = pixels, np.ones(pixels.shape[:2], np.float32)
            self.range, self.noise = frame.range, noise
            return frame
        if self.range != frame.range:
            self.mean = _rescaled(self.mean, self.range, frame.range)
            self.range = frame.range
        difference = pixels - self.mean
        gain = self._gain((difference @ _weights(pixels)) ** 2, noise)
        self.noise += FLOOR * (noise - self.noise)
        self.mean = self.mean + gain[..., None] * difference
        self.variance = (1 - gain) ** 2 * self.variance + gain**2
        # Clipping of the noise shifted the mean, which averaging does not undo; so it is recorded.
        pixels = np.clip(self.mean, 0, 1, dtype=np.float32)
        return replace(frame, samples=pixels, clipped_noise=2 * self.noise)

    def _gain(self, energy: np.ndarray, noise: float) -> np.ndarray:
        """K for each pixel, from (s - m)^2 and the noise measured in the frame."""
        energy = energy / (1 + self.variance)
        in_time = float(np.sqrt(np.median(energy))) / 0.6745  # median of a normal |x|
        s2 = max(LEAST, min(noise, in_time)) ** 2
        e = ndimage.gaussian_filter(energy, REACH, mode="nearest") / s2
        changed = np.clip((e - STILL) / (MOVED - STILL), 0, 1)
        # A moving object is larger than where it shows: its inside may be as even as what it hides.
        changed = ndimage.grey_dilation(changed, size=3)
        gain = np.maximum(self.variance / (self.variance + 1), FLOOR)
        return gain + changed * (1 - gain)


def _noise(frame: Picture) -> float:
    return noise_level(torch.from_numpy(grey(frame))[None, None])


def _weights(pixels: np.ndarray) -> np.ndarray:
    """The weights of the channels in luminance."""
    return np.array(LUMA if pixels.shape[2] == 3 else [1], np.float32)


def _rescaled(
    pixels: np.ndarray, old: tuple[float, float] | None, new: tuple[float, float] | None
) -> np.ndarray:
    """Convert levels whose 0 and 1 are the values `old` to levels whose 0 and 1 are `new`."""
    (low, high), (low2, high2) = old or (0.0, 1.0), new or (0.0, 1.0)
    values = low + pixels.astype(np.float64) * (high - low)
    return ((values - low2) / ((high2 - low2) or 1.0)).astype(np.float32)
