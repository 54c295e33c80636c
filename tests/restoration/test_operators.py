"""Operators: transposes by scalar products, means by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from ddfm.restoration.operators import (
    AreaAverage,
    Chain,
    GaussianBlur,
    KernelBlur,
    as_kernel,
    motion_kernel,
)

FINE = (24, 33)
OPERATORS = {
    "whole factor": AreaAverage(FINE, (6, 11)),
    "any factor": AreaAverage(FINE, (7, 9)),
    "one side": AreaAverage(FINE, (24, 10)),
    "gaussian": GaussianBlur(1.5),
    "motion": KernelBlur(motion_kernel(7.3, 30)),
    "kernel": KernelBlur(as_kernel(np.arange(1.0, 16).reshape(3, 5))),
    "chain": Chain((AreaAverage(FINE, (7, 9)), GaussianBlur(0.8))),
}


def draw(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("name", OPERATORS)
def test_the_adjoint_is_the_transpose(name):
    operator, x = OPERATORS[name], draw(*FINE)
    image = operator.forward(x)
    y = draw(*image.shape[-2:], seed=1)
    torch.testing.assert_close((image * y).sum(), (x * operator.adjoint(y)).sum())


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_keep_levels(name):
    flat = torch.full((1, 1, *FINE), 0.3, dtype=torch.float64)
    image = OPERATORS[name].forward(flat)
    torch.testing.assert_close(image, torch.full_like(image, 0.3))


def test_area_averages_are_means_of_blocks():
    x = draw(*FINE)
    means = x.numpy().reshape(6, 4, 11, 3).mean((1, 3))
    np.testing.assert_allclose(AreaAverage(FINE, (6, 11)).forward(x)[0, 0], means)


def test_blurs_are_those_of_scipy():
    x = draw(*FINE)
    blurred = ndimage.gaussian_filter(x[0, 0].numpy(), 1.5, mode="reflect", truncate=10 / 3)
    np.testing.assert_allclose(GaussianBlur(1.5).forward(x)[0, 0], blurred, atol=1e-12)
    kernel = np.array(motion_kernel(5, 40))
    moved = ndimage.convolve(x[0, 0].numpy(), kernel, mode="reflect")
    np.testing.assert_allclose(KernelBlur(as_kernel(kernel)).forward(x)[0, 0], moved, atol=1e-12)


def test_a_motion_along_a_row_is_a_line():
    kernel = np.array(motion_kernel(5, 0))
    assert kernel.sum() == pytest.approx(1) and kernel[3].sum() == pytest.approx(1)
    np.testing.assert_allclose(kernel[3, 2:5], 0.2, atol=0.01)
