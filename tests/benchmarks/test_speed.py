"""The benchmark of speed: who is measured in turns, what counts, and what is compared with what."""

from __future__ import annotations

import importlib
import resource
import sys
import zipfile
from pathlib import Path

import pytest

from places import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
speed, rounding = map(importlib.import_module, ("speed", "rounding"))


def test_rows_are_measured_in_turns_and_compared_with_the_first_of_their_group(monkeypatch):
    costs = {"a": [2, 4, 3], "b": [8, 6, 7], "c": [5, 5, 5]}
    order = []

    def run(self):
        order.append(self.name)
        return float(self.name == "a"), float(costs[self.name].pop(0)), 0.5

    monkeypatch.setattr(speed.Contestant, "run", run)
    lines = [speed.Contestant(group, name, ()) for group, name in ("1a", "1b", "2c")]
    rows = [[cell.strip() for cell in row.split("|")] for row in speed.table(lines, 3)[2:]]
    assert "".join(order) == "abc" * 3
    assert [row[4] for row in rows] == ["3.00", "7.00", "5.00"]  # medians of processor seconds
    assert [row[5] for row in rows] == ["1.00", "2.33", "1.00"]


def test_a_process_is_measured_from_outside_or_reports_its_own_time(tmp_path):
    (tmp_path / "something.py").write_text("block = b'x' * 60_000_000")
    code = "import something, time; time.sleep(0.3); print('seconds 0.25 0.125')"
    whole = speed.Contestant("g", "whole", (sys.executable, "-c", code), tmp_path)
    seconds, work, memory = whole.run()
    # Linux counts what its parent had when it began, which is much in a long run of tests.
    parent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    assert seconds > 0.3 and work < seconds and 0.06 < memory < max(0.5, 1.1 * parent)
    told = speed.Contestant("g", "told", (sys.executable, "-c", code), tmp_path, inside=True)
    assert told.run()[:2] == (0.25, 0.125)
    failing = speed.Contestant("g", "failing", (sys.executable, "-c", "import nothing_at_all"))
    with pytest.raises(SystemExit, match="failing ended with 1"):
        failing.run()


def test_an_earlier_version_is_a_checkout_or_a_wheel(tmp_path):
    assert speed.unpacked(tmp_path, Path("unused")) == tmp_path
    with zipfile.ZipFile(tmp_path / "ddfm.whl", "w") as wheel:
        wheel.writestr("ddfm/__init__.py", "")
    where = speed.unpacked(tmp_path / "ddfm.whl", tmp_path / "before")
    assert (where / "ddfm" / "__init__.py").is_file()


def test_differences_are_measured_on_rounded_levels():
    first, second = rounding.np.array([[0.0, 1.0]]), rounding.np.array([[0.001, 253 / 255]])
    assert rounding.difference(first, second) == (2.0, 1.0, 0.5)
