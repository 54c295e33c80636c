"""Smoothing over regions: against SciPy's direct solver, and its guarantees."""

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve

from ddfm.numerics.bands import WHOLE
from ddfm.numerics.regions import GRID, from_grid, on_grid, smoothed_on_grid


def picture(seed: int, size=(24, 30)) -> torch.Tensor:
    """Two sources with soft waves, and an edge in one of them."""
    generator = torch.Generator().manual_seed(seed)
    y, x = (torch.arange(float(n)) for n in size)
    waves = 0.2 * torch.sin(0.3 * y)[:, None] * torch.cos(0.2 * x)
    sources = torch.stack([waves, -waves]) + 0.01 * torch.randn(2, *size, generator=generator)
    sources[0, :, size[1] // 2 :] += 0.8
    return sources[None].double()


def smooth_regions(x: torch.Tensor, sources: torch.Tensor, width: float, contour: float):
    """With the grid."""
    y = smoothed_on_grid(on_grid(x), on_grid(sources), width, contour)
    return from_grid(y, x.shape, WHOLE)


def direct(x: np.ndarray, sources: np.ndarray, width: float, contour: float) -> np.ndarray:
    """The normal equations with each difference as a row, for one field x of one image."""
    h, w = x.shape
    number = np.arange(h * w).reshape(h, w)
    right = np.diff(sources, axis=2, append=sources[:, :, -1:])
    below = np.diff(sources, axis=1, append=sources[:, -1:])
    V = (1 + (right**2 + below**2).max(0) / contour**2) ** -1.5
    starts = np.concatenate([number[:, :-1].ravel(), number[:-1].ravel()])
    ends = np.concatenate([number[:, 1:].ravel(), number[1:].ravel()])
    rows = np.arange(len(starts))
    D = sparse.coo_array((np.ones(len(rows)), (rows, ends)), shape=(len(rows), h * w)).tocsr()
    D = D - sparse.coo_array((np.ones(len(rows)), (rows, starts)), shape=D.shape).tocsr()
    A = (
        sparse.eye_array(h * w)
        + (width * min(h, w)) ** 2 * D.T @ sparse.diags_array(V.ravel()[starts]) @ D
    )
    return spsolve(A.tocsc(), x.ravel()).reshape(h, w)


@pytest.mark.parametrize("contour", [0.02, 0.1, 10.0])
def test_smoothing_agrees_with_a_direct_solver(contour):
    sources = picture(1)
    x = torch.randn(1, 2, 24, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ours = smooth_regions(x, sources, 0.7, contour)
    for k in (0, 1):
        theirs = direct(x[0, k].numpy(), sources[0].numpy(), 0.7, contour)
        np.testing.assert_allclose(ours[0, k].numpy(), theirs, atol=1e-4)


def test_regions_are_uniform_and_separate():
    """Evidence for a source anywhere in a region counts in the whole region."""
    size = 60, 80
    sources = torch.zeros(1, 2, *size)
    sources[:, 0, :, 40:] = 0.8
    x = torch.rand(1, 2, *size, generator=torch.Generator().manual_seed(3)) - 0.5
    x[..., 40:] += 1
    smoothed = smooth_regions(x, sources, 1.0, 0.02)
    left, right = smoothed[..., 2:38], smoothed[..., 42:-2]
    assert float(right.mean() - left.mean()) > 0.8
    assert max(float(left.std()), float(right.std())) < 0.05
    across = smooth_regions(x, sources, 1.0, 100.0)
    assert float(across[..., 42:-2].mean() - across[..., 2:38].mean()) < 0.4


def test_large_images_have_the_regions_of_small_ones():
    small = picture(4, (GRID, GRID + 40))
    x = small.abs()
    large, wide = (part.repeat_interleave(3, 2).repeat_interleave(3, 3) for part in (small, x))
    expected = smooth_regions(x, small, 1.0, 0.05)
    got = smooth_regions(wide, large, 1.0, 0.05)[..., 1::3, 1::3]
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)


def test_each_image_of_a_batch_is_smoothed_separately():
    both = torch.cat([picture(5), picture(6).flip(-1)])
    smoothed = smooth_regions(both.abs(), both, 1.0, 0.02)
    alone = [smooth_regions(one.abs(), one, 1.0, 0.02) for one in both.split(1)]
    torch.testing.assert_close(smoothed, torch.cat(alone), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 300)])
def test_any_size_is_smoothed(size):
    x = torch.ones(1, 2, *size)
    torch.testing.assert_close(smooth_regions(x, 0 * x, 1.0, 0.02), x)
