"""Finds the noise of a source, white or of another law, and removes it."""

from __future__ import annotations

from torch import Tensor

from ddfm.diffusion.observed import TOLD
from ddfm.numerics.noise_level import is_noise, noise_level, refined_level
from ddfm.priors.denoise import unclipped
from ddfm.restoration.colors import LEAST
from ddfm.restoration.noise_in_air import find_in_air
from ddfm.restoration.noise_laws import Denoise, deviation_of, find_photons, law_of, without_noise
from ddfm.restoration.observation import Found, NoiseLaw, Observation
from ddfm.restoration.shared_noise import (
    deviation_in,
    find_shared,
    of_shared,
    without_shared_noise,
)

__all__ = ["denoiser_of_chroma", "law_in", "noise_removed"]

AIR = 0.25  # least noise estimated from air, in units of `clean`
SHARED = 2.0  # least noise shared by neighbours, in units of `clean`
UNLIKELY = 3.0  # factor between the specified and the estimated noise that causes a warning


def law_in(y: Tensor, file: Tensor, is_jpeg: bool, clean: float) -> float | NoiseLaw | None:
    """The noise of y, if it is not white, or if only air or the file distinguishes it from texture.

    Args:
        file: the source before its JPEG artefacts were removed; after that, what the compression
            left of the noise is no longer visible.
        is_jpeg: whether the file was detected or specified to be a JPEG.
    """
    level = noise_level(y)
    white = is_noise(y, level, clean)
    in_air = find_in_air(y, AIR * clean)
    if in_air is not None and (isinstance(in_air, tuple) or not white):
        deviation = 2 / 255 * deviation_of(in_air, 0)
        if deviation <= UNLIKELY * level:  # otherwise it is only in the air
            return in_air
    if white and (photons := find_photons(y)) is not None:
        return photons
    shared = find_shared(file, SHARED * clean, is_jpeg)
    return shared if not white or isinstance(shared, float) else None


def noise_removed(
    y: Tensor, given: Observation, smaller: bool, denoise: Denoise, clean: float, found: Found
) -> Tensor:
    """The plane without its noise, of the given law or level, or of the estimated level.

    Args:
        smaller: whether it is smaller than the result.
        clean: the least level that is removed if none is given.
    """
    if isinstance(given.noise, tuple):
        found["noise"] = list(given.noise)
        if given.noise[0] != "shared":
            return without_noise(y, law_of(given.noise), denoise)
        deviation, width = of_shared(given.noise)
        return unclipped(without_shared_noise(y, deviation, width, denoise), deviation)
    if given.noise is None:
        level = _level(y, smaller, denoise, clean)
    else:
        level = 2 * given.noise / 255
    if level > 0:
        found["noise"] = round(255 * level / 2, 2)
        if _is_unlikely(level, y, found):
            found["noise_there"] = round(255 * noise_level(y) / 2, 2)
        return unclipped(denoise(y, TOLD * level), level)
    return y


def _level(y: Tensor, smaller: bool, denoise: Denoise, clean: float) -> float:
    """The level of white noise in a coarse or blurred source, 0 if less than `clean`.

    A source that is smaller than the result has texture nearly everywhere, so the prior has to
    separate it from the noise.
    """
    level = noise_level(y)
    if not is_noise(y, level, clean):
        return 0.0
    if smaller:
        level = refined_level(y, level, denoise)
    return level if level >= clean else 0.0


def _is_unlikely(level: float, y: Tensor, found: Found) -> bool:
    """Whether y has far less noise than this level; False where this cannot be decided."""
    there = noise_level(y)
    if "jpeg" in found or there == 0 or level <= UNLIKELY * there:
        return False
    return not isinstance(find_shared(y, level / UNLIKELY), float)


def denoiser_of_chroma(noise: float | NoiseLaw | None, denoise: Denoise) -> Denoise:
    """The denoiser for chroma at half the size, where shared noise is half as wide in pixels."""
    if not isinstance(noise, tuple) or noise[0] != "shared":
        return denoise
    width = of_shared(noise)[1] / 2

    def quiet(x: Tensor, _: float) -> Tensor:
        return without_shared_noise(x, max(deviation_in(x, width), LEAST), width, denoise)

    return quiet
