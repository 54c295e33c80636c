"""Montages: slices beside each other, with numbers, sides and scales."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ddfm.volumes.montage import montage
from ddfm.volumes.volume import Volume
from grids import turned


def test_a_montage_has_numbers_sides_and_scales(tmp_path):
    """Compared with the same slices without them."""
    affine = turned((-1, 1, 4))
    values = np.zeros((100, 90, 5), np.float32)
    volume = Volume(values, affine)
    montage([volume, volume], tmp_path / "plain.png", axis="axial", count=1)
    scales = [(0.0, 1800.0, None), (-160.0, 240.0, "hot")]
    montage([volume, volume], tmp_path / "scaled.png", axis="axial", count=1, scales=scales)
    with Image.open(tmp_path / "plain.png") as image:
        plain = np.asarray(image)
    with Image.open(tmp_path / "scaled.png") as image:
        wide = np.asarray(image)
    width = plain.shape[1]
    assert wide.shape[0] == plain.shape[0] and wide.shape[1] > width + 20
    assert (wide[:, :width] == plain).all()
    lit = plain.max(axis=-1) > 128  # black slices: what is lit are letters
    rows, columns = np.nonzero(lit[:90])
    assert rows.min() < 15 and columns.min() < 15 and columns.max() > width - 20
    assert not lit[30:40, :].any()
    bar = wide[90 // 2, width : width + 20]
    assert (bar[..., 0] == bar[..., 2]).all()  # grey, and the one below is in colours
    below = wide[92 + 20 : 92 + 70, width : width + 20]
    assert (below[..., 0].astype(int) - below[..., 2] > 100).any()
