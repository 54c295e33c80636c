"""The scripts of benchmarks/ are listed in docs/benchmark.md, and explain themselves."""

import re

from places import ROOT

PARTS = {"mirrored.py", "pairs.py"}  # imported by others


def test_every_script_is_in_the_table_and_the_table_names_no_other():
    table = (ROOT / "docs" / "benchmark.md").read_text().split("## Scripts behind the figures")[1]
    named = set(re.findall(r"`(\w+\.(?:py|toml))`", table))
    there = {path.name for path in (ROOT / "benchmarks").iterdir() if path.is_file()}
    there = {name for name in there if name.endswith((".py", ".toml"))} - PARTS
    assert named == there - {"correspondences.toml"}


def test_every_script_has_help_and_refuses_wrong_arguments():
    """Which argparse and click do."""
    for path in (ROOT / "benchmarks").glob("*.py"):
        text = path.read_text()
        if '"__main__"' in text:
            assert re.search(r"^ *import (argparse|click)\b", text, re.M), path.name
