"""The package by itself: what its import costs, and that every name is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ddfm


def test_importing_ddfm_imports_nothing_heavy():
    code = "import ddfm, sys; print(*{'torch', 'numpy', 'scipy', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_every_name_of_the_package_is_there():
    assert set(ddfm.__all__) <= set(dir(ddfm))
    assert all(getattr(ddfm, name) is not None for name in ddfm.__all__)
    with pytest.raises(AttributeError, match="no attribute 'fuze'"):
        ddfm.fuze  # noqa: B018
