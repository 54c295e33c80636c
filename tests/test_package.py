"""The package by itself: what its import costs, and that every name is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ddfm
from places import ROOT


def test_importing_ddfm_imports_nothing_heavy():
    code = "import ddfm, sys; print(*{'torch', 'numpy', 'scipy', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_every_name_of_the_package_is_there():
    assert set(dir(ddfm)) == {*ddfm.__all__, "metrics"}  # and no room or import of its own
    assert all(getattr(ddfm, name) is not None for name in ddfm.__all__)
    with pytest.raises(AttributeError, match="no attribute 'fuze'"):
        ddfm.fuze  # noqa: B018


def test_all_that_tells_the_version_tells_the_same():
    said = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    newest = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ", 2)[1]
    assert f"\nversion: {ddfm.__version__}\n" in said
    assert newest.startswith(f"{ddfm.__version__} ")
