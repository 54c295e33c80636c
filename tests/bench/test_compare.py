"""Statistical tests between methods, against numbers from textbooks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddfm.bench.compare import compare, holm
from ddfm.bench.datasets import Dataset
from ddfm.bench.methods import Method
from ddfm.bench.results import Bench, Row
from ddfm.imaging.pairing import Pair
from ddfm.metrics import known_metrics


def result(**values: list[float]) -> Bench:
    """Methods that have these values of every metric on the pairs 0, 1, 2, ..."""
    pairs = [Pair(str(k), (Path("a"), Path("b"))) for k in range(len(next(iter(values.values()))))]
    found = Bench([Dataset("TNO", "medical", ("a", "b"), pairs, {})],
                  [Method(name, "folder") for name in values], 2.0, ())  # fmt: skip
    for name, each in values.items():
        for pair, value in zip(pairs, each, strict=True):
            metrics = dict.fromkeys(known_metrics(), value)
            found.rows.append(Row(name, "TNO", pair, Path("f"), None, metrics))
    return found


def test_holm_correction_matches_the_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_the_signed_rank_test_of_six_pairs():
    """All six differences of one sign: 2 of 64 ways to choose signs are as clear."""
    better = [1.0, 2.0, 3.5, 4.0, 5.0, 6.5]
    comparisons = compare(result(one=better, other=[0.0] * 6))
    assert {c.metric for c in comparisons} == set(known_metrics())
    for c in comparisons:
        assert (c.a, c.b, c.pairs, c.difference) == ("one", "other", 6, 3.75)
        assert c.p == c.corrected == pytest.approx(2 / 64)
        assert c.better == ("other" if c.metric in ("MSE", "Nabf", "QCV") else "one")


def test_three_methods_are_corrected_for_three_tests():
    values = {"a": [1, 2, 3, 4, 5, 6], "b": [2, 4, 6, 8, 10, 12], "c": [3, 7, 9, 13, 15, 19]}
    some = [c for c in compare(result(**values)) if c.metric == "EN"]
    assert [(c.a, c.b) for c in some] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [c.p for c in some] == pytest.approx([2 / 64] * 3, rel=0.2)
    assert all(c.corrected == pytest.approx(3 * max(x.p for x in some), rel=0.2) for c in some)


def test_equal_methods_and_missing_values_are_no_difference():
    (one, *_) = compare(result(a=[1.0, 2.0, 3.0], b=[1.0, 2.0, 3.0]))
    assert (one.p, one.corrected, one.better) == (1.0, 1.0, "")
    (one, *_) = compare(result(a=[1.0, float("nan"), 3.0], b=[0.0, 0.0, 0.0]))
    assert one.pairs == 2 and one.difference == 2.0


def test_equal_pairs_do_not_make_a_difference_clearer():
    """Five of 20 pairs differ: 2 of 32 ways to choose their signs are as clear."""
    (one, *_) = compare(result(a=[1.0, 2.0, 3.0, 4.0, 5.0] + [0.0] * 15, b=[0.0] * 20))
    assert (one.pairs, one.p) == (20, pytest.approx(2 / 32))


def test_the_better_method_is_that_which_the_test_favours():
    """The median may be 0, or have the other sign."""
    (of_some, *_) = compare(result(a=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0] + [0.0] * 9, b=[0.0] * 15))
    assert (of_some.difference, of_some.better) == (0, "a")
    assert of_some.p == pytest.approx(2 / 64)
    slightly, clearly = [-0.01 * k for k in range(1, 27)], [float(k) for k in range(1, 25)]
    (uneven, *_) = compare(result(a=slightly + clearly, b=[0.0] * 50))
    assert uneven.difference < 0 and uneven.p < 0.01 and uneven.better == "a"
