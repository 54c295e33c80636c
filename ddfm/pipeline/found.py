"""What a fusion would detect and correct in a picture or a volume, as far as it shows alone."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddfm.config import FusionConfig
from ddfm.fusing.run import Model
from ddfm.imaging.picture import Picture
from ddfm.numerics.device import find_device
from ddfm.pipeline.slices import picture_of
from ddfm.priors import load_prior
from ddfm.restoration.corrections import summed_up
from ddfm.restoration.restore import found_in
from ddfm.volumes.volume import Volume, find_axis, slices

__all__ = ["found_in_picture", "found_in_volume"]

SAMPLE = 5  # slices of a volume that are examined


def found_in_picture(picture: Picture) -> dict[str, Any]:
    """As an entry of `Fusion.settings["observed"]`."""
    return _found(picture, "ir-visible")


def found_in_volume(levels: Volume) -> dict[str, Any]:
    """Medians over some slices that are not black, of a volume scaled from 0 to 1."""
    stack = slices(levels.values, levels.affine, find_axis(levels))
    busy = [k for k, plane in enumerate(stack) if plane.any()]
    few = sorted({round(k) for k in np.linspace(0, len(busy) - 1, SAMPLE)}) if busy else []
    each = [[_found(picture_of(stack[busy[k]]), "medical")] for k in few]
    return next(iter(summed_up(each, "slices")), {})


@torch.no_grad()
def _found(picture: Picture, task: str) -> dict[str, Any]:
    @cache
    def model() -> Model:
        device = find_device()
        prior = load_prior("default").to(device, torch.float32)
        return Model(prior, device, None).tiled(None, picture.size)

    def denoise(x: Tensor, level: float) -> Tensor:
        return model().without_noise(x, level)

    clean = FusionConfig().resolved(task).clean
    is_medical = task == "medical"
    return found_in(picture, denoise, clean=clean, frames=not is_medical, blurs=not is_medical)
