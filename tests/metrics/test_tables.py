"""Tables as text: what is marked, what is escaped, and that nothing is lost."""

from __future__ import annotations

import csv
import io
import math

import pytest

from ddfm.metrics.tables import Table, as_csv, as_latex, as_markdown, column

ROWS = [
    ("ours", {"EN": 7.1234, "Nabf": 0.02, "targets": 12.0, "VIF": 0.9}),
    ("theirs_2", {"EN": 7.1236, "Nabf": 0.04, "targets": 12.0, "VIF": math.nan}),
    ("worst & last", {"EN": 6.0, "Nabf": 0.1, "targets": 12.0, "VIF": None}),
]
TABLE = Table(
    "TNO", "method", [*map(column, ("EN", "Nabf", "targets", "VIF"))], ROWS, [("DDFM", {"EN": 9})]
)


def test_the_best_and_the_second_best_are_marked_and_nothing_else():
    lines = as_markdown(TABLE).splitlines()
    assert lines[2] == "| method | EN ↑ | Nabf ↓ | targets | VIF ↑ |"
    assert lines[4] == "| ours | *7.123* | **0.020** | 12 | 0.900 |"
    assert lines[5] == "| theirs\\_2 | **7.124** | *0.040* | 12 | – |"
    assert lines[6] == "| worst & last | 6.000 | 0.100 | 12 | – |"
    assert lines[7] == "| *DDFM* | 9.00 | – | – | – |"  # quoted, and out of the ranking


def test_values_printed_alike_are_ranked_alike():
    rows = [("a", {"SD": 51.561}), ("b", {"SD": 51.562}), ("c", {"SD": 9.0})]
    same = Table("", "", [column("SD")], rows)
    assert same.places(column("SD")) == [1, 1, 2]
    alike = Table("", "", [column("SD")], [("a", {"SD": 3.0}), ("b", {"SD": 3.0})])
    assert alike.places(column("SD")) == [0, 0]


def test_means_over_fewer_pairs_are_not_ranked():
    of_all, of_some = {"pairs": 9, "SD": 51.0}, {"pairs": 8, "SD": 60.0}
    rows = [("a", of_all), ("b", of_some), ("c", of_all | {"SD": 50.0})]
    assert Table("", "", [column("SD")], rows).places(column("SD")) == [1, 0, 2]


def test_names_are_escaped_in_latex():
    text = as_latex(TABLE)
    assert r"theirs\_2 & \textbf{7.124} & \underline{0.040} & 12 & – \\" in text
    assert r"worst \& last" in text and r"EN~$\uparrow$ & Nabf~$\downarrow$ & targets &" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    lines = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert [line.count("&") - line.count(r"\&") for line in lines] == [4] * 5


def test_signs_that_the_default_font_of_latex_lacks_are_named():
    text = as_latex(Table("a|b<c>d~e^f\\", "method", [], []))
    expected = "bar{}b less{}c greater{}d asciitilde{}e asciicircum{}f backslash{}"
    assert "{a" + "".join(rf"\text{word}" for word in expected.split(" ")) + "}" in text


@pytest.mark.parametrize("cell", ["=1+1", "+49", "-a", "@sum", "\tx", "\rx"])
def test_no_cell_of_csv_is_a_formula(cell):
    head, line = csv.reader(io.StringIO(as_csv([cell], [[cell]]), newline=""))
    assert head == line == [f"'{cell}"]
    assert as_csv(["a"], [[-1.5, None, math.nan]]).splitlines()[1] == "-1.5,,"
