"""Fixtures for the tests of restoration."""

from __future__ import annotations

import pytest

from ddfm import Fuser


@pytest.fixture(scope="session")
def fuser() -> Fuser:
    return Fuser("gaussian", device="cpu", look=False)
