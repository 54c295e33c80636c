"""Fixtures for the tests of folders, films and volumes."""

from __future__ import annotations

import pytest

from ddfm import Fuser


@pytest.fixture(scope="session")
def fuser() -> Fuser:
    return Fuser("gaussian", steps=2, device="cpu")
