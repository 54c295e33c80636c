"""docs/benchmark.md lists the scripts of benchmarks/."""

import re

from places import ROOT

PARTS = {"mirrored.py", "pairs.py"}  # imported by others


def test_every_script_is_in_the_table_and_the_table_names_no_other():
    table = (ROOT / "docs" / "benchmark.md").read_text().split("## Scripts behind the figures")[1]
    named = set(re.findall(r"`(\w+\.(?:py|toml))`", table))
    there = {path.name for path in (ROOT / "benchmarks").iterdir() if path.is_file()}
    there = {name for name in there if name.endswith((".py", ".toml"))} - PARTS
    assert named == there - {"correspondences.toml"}
