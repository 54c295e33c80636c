"""Tables of metrics as CSV, Markdown or LaTeX. Arrows show whether more or less is better.

Among several methods, the best value of a column is bold, and the second best is in italics
(Markdown) or underlined (LaTeX). Values that are equal as printed share their rank. Means over
fewer pairs than those of other rows have none.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddfm.metrics.contrast import COUNTS
from ddfm.metrics.own import Own

__all__ = [
    "LOWER_IS_BETTER",
    "PAIRS",
    "Column",
    "Table",
    "as_csv",
    "as_grid",
    "as_latex",
    "as_markdown",
    "column",
]

LOWER_IS_BETTER = frozenset({"MSE", "Nabf", "QCV", "targets_lost", "lights_lost"})
DIGITS = 4  # digits of the largest value of a column; at most one less after the decimal point
PAIRS = "pairs"  # the column with the number of pairs that the values of a row are means over
PRINTED = 2  # digits after the decimal point in papers

Values = Mapping[str, float | None]


@dataclass(frozen=True)
class Column:
    """A column: its heading, and whether more (1), less (-1) or neither (0) is better."""

    name: str
    better: int = 0

    @property
    def arrow(self) -> str:
        """An arrow up or down, or nothing."""
        return {1: "↑", -1: "↓", 0: ""}[self.better]


def column(metric: str, own: Own | None = None) -> Column:
    """The column of a metric of ours, or of one that is not."""
    if own is not None:
        return Column(metric, own.better)
    return Column(metric, 0 if metric in COUNTS else -1 if metric in LOWER_IS_BETTER else 1)


@dataclass(frozen=True)
class Table:
    """A table of metrics. Values that are missing, None or NaN are left empty.

    Attributes:
        caption: the caption.
        corner: the heading of the column of names.
        columns: the columns of values.
        rows: name and values of each row; the values by the columns' names.
        quoted: rows from publications, shown below the others and not ranked.
        ranked: whether to mark the best values of a column.
    """

    caption: str
    corner: str
    columns: Sequence[Column]
    rows: Sequence[tuple[str, Values]]
    quoted: Sequence[tuple[str, Values]] = ()
    ranked: bool = True

    def shown(self, column: Column) -> list[str]:
        """The values of a column as text, first of `rows`, then of `quoted`."""
        rows = [(DIGITS - 1, row) for _, row in self.rows]
        rows += [(PRINTED, row) for _, row in self.quoted]
        values = [row.get(column.name) for _, row in rows]
        finite = [abs(v) for v in values if v is not None and math.isfinite(v)]
        whole = all(v == round(v) for v in finite)
        largest = max(finite, default=0.0)
        before = math.floor(math.log10(largest)) + 1 if largest >= 1 else 1
        digits = 0 if whole and not column.better else max(0, DIGITS - before)
        return [
            "" if v is None or math.isnan(v) else f"{v:.{min(digits, most)}f}"
            for v, (most, _) in zip(values, rows, strict=True)
        ]

    def places(self, column: Column) -> list[int]:
        """The rank of each of `rows` in a column: 1 for the best, 2 for the second, 0 otherwise.

        Means over fewer pairs than those of other rows have none: the missing pairs may be hard.
        """
        pairs = [row.get(PAIRS) or 0 for _, row in self.rows]
        shown = [
            text if count == max(pairs) else ""
            for text, count in zip(self.shown(column), pairs, strict=False)
        ]
        values = {float(text) for text in shown if text}
        if not self.ranked or not column.better or len(values) < 2:
            return [0] * len(shown)
        order = sorted(values, reverse=column.better > 0)[:2]
        return [order.index(float(t)) + 1 if t and float(t) in order else 0 for t in shown]


def as_csv(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """CSV, with None and NaN left empty, and texts marked that programs would take for formulas."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerows([_in_csv(cell) for cell in line] for line in (head, *lines))
    return file.getvalue()


def as_markdown(table: Table) -> str:
    """A table in GitHub's Markdown, below its caption."""
    marks = {0: "{}", 1: "**{}**", 2: "*{}*"}
    head = [table.corner, *(f"{c.name} {c.arrow}".strip() for c in table.columns)]
    lines = _cells(table, marks, _markdown)
    ours, theirs = lines[: len(table.rows)], lines[len(table.rows) :]
    theirs = [[f"*{line[0]}*", *line[1:]] for line in theirs]
    return f"{_markdown(table.caption)}\n\n{_grid([list(map(_markdown, head)), *ours, *theirs])}"


def as_grid(cells: Sequence[Sequence[str]]) -> str:
    """A Markdown table of these texts; the first line is the head."""
    return _grid([list(map(_markdown, line)) for line in cells])


def as_latex(table: Table) -> str:
    """A LaTeX table environment that needs no packages."""
    marks = {0: "{}", 1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}
    arrows = {1: r"~$\uparrow$", -1: r"~$\downarrow$", 0: ""}
    head = [_latex(table.corner), *(_latex(c.name) + arrows[c.better] for c in table.columns)]
    lines = [" & ".join(line) + r" \\" for line in _cells(table, marks, _latex)]
    rules = [r"\hline", " & ".join(head) + r" \\", r"\hline", *lines[: len(table.rows)]]
    if table.quoted:
        rules += [r"\hline", *lines[len(table.rows) :]]
    body = "\n".join([*rules, r"\hline"])
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{_latex(table.caption)}}}\n"
        f"\\begin{{tabular}}{{l{'r' * len(table.columns)}}}\n{body}\n\\end{{tabular}}\n"
        "\\end{table}\n"
    )


def _cells(table: Table, marks: Mapping[int, str], escaped: Any) -> list[list[str]]:
    """The cells of each row: its name, and its values with marks for the best."""
    lines = [[escaped(name)] for name, _ in (*table.rows, *table.quoted)]
    for c in table.columns:
        places = table.places(c) + [0] * len(table.quoted)
        for line, text, place in zip(lines, table.shown(c), places, strict=True):
            line.append(marks[place].format(text) if text else "–")
    return lines


def _grid(lines: Sequence[Sequence[str]]) -> str:
    head, *body = lines
    rule = ["---", *("---:" for _ in head[1:])]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *body))


def _in_csv(cell: Any) -> Any:
    """A cell for CSV; text that begins like a formula is preceded by an apostrophe."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r") else cell


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", text.replace("\n", " "))


def _latex(text: str) -> str:
    named = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "|": "bar"}
    named |= {"<": "less", ">": "greater"}  # which the default font lacks, as it does |
    words = {sign: rf"\text{name}{{}}" for sign, name in named.items()}
    return re.sub(r"[\\~^|<>&%$#_{}]", lambda m: words.get(m[0], "\\" + m[0]), text)
