"""What holds for all tests."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    """A test draws the same numbers of torch, whichever tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def av():
    """The library for videos, which is optional."""
    return pytest.importorskip("av")
