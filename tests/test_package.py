"""The package: the cost of importing it, and its public names."""

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


def test_every_public_name_exists():
    assert set(dir(ddfm)) == {*ddfm.__all__, "metrics"}  # and no room or import of its own
    assert all(getattr(ddfm, name) is not None for name in ddfm.__all__)
    with pytest.raises(AttributeError, match="no attribute 'fuze'"):
        ddfm.fuze  # noqa: B018


def test_all_statements_of_the_version_agree():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    newest = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ", 2)[1]
    assert f"\nversion: {ddfm.__version__}\n" in citation
    assert newest.startswith(f"{ddfm.__version__} ")


def test_all_files_of_the_package_are_installed(tmp_path):
    pytest.importorskip("setuptools")
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for folder, place in ((ROOT / "ddfm", "ddfm"), (ROOT / "pretrained", "ddfm/pretrained")):
        files = {path.relative_to(folder) for path in folder.rglob("*.*") if path.suffix != ".pyc"}
        assert len(files) > 5
        assert not [name for name in files if not (tmp_path / place / name).exists()]
