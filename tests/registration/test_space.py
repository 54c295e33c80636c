"""Volumes whose headers are off by a known motion."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from ddfm.registration.space import _bins, align_space
from grids import turned

AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
MOTION = turned(degrees=(0, 0, 12), origin=(14, -9, 7))


@pytest.fixture(scope="module")
def head():
    """Two contrasts of one object: bright tissue in one is of medium level in the other."""
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.standard_normal((48, 44, 40)), 3)
    z = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in field.shape), indexing="ij"))
    labels = (field > 0) + 2 * (field > field.std()) + 1
    labels = labels * ((z**2).sum(0) < 0.8)
    return np.choose(labels, [0, 60, 100, 30, 80]), np.choose(labels, [0, 90, 20, 70, 50])


def test_a_misaligned_header_is_corrected(head):
    one, other = head
    found = align_space(one, AFFINE, other, MOTION @ AFFINE, finest=4.0)
    ends = np.c_[np.array(list(np.ndindex(2, 2, 2))) * 160.0, np.ones(8)]
    error = np.linalg.norm((ends @ (found.matrix - MOTION).T)[:, :3], axis=1).mean()
    assert found.sure and error < 2.0  # half a voxel
    assert np.abs(found.placed(MOTION @ AFFINE) - AFFINE).max() < 3.0
    assert found.off > 15


def test_unrelated_volumes_are_not_aligned(head):
    noise = np.random.default_rng(1).standard_normal(head[0].shape)
    assert not align_space(head[0], AFFINE, noise, AFFINE, finest=8.0).sure


@pytest.mark.parametrize("turned", [False, True])
def test_volumes_that_do_not_overlap_are_aligned_from_their_centres(head, turned):
    one, other = head[::-1] if turned else head
    header = MOTION @ AFFINE
    header[:3, 3] += (900.0, -500.0, 300.0)
    found = align_space(one, AFFINE, other, header, finest=4.0)
    assert found.sure and np.abs(found.placed(header) - AFFINE).max() < 3.0


def test_values_beyond_the_last_bin_have_no_negative_share():
    """Otherwise the entropy of a bin that nothing else falls into is not a number."""
    values = torch.tensor([-1e-6, 0.0, 0.25, 30.999, 31.0, 31.00001])
    shares = torch.stack([share for _, share in _bins(values)])
    assert (shares >= 0).all() and torch.allclose(shares.sum(0), torch.ones(6))
