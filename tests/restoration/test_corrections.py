"""The report of corrections."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ddfm.pipeline.summary import Outcome, Summary
from ddfm.restoration.corrections import corrected, corrections, summed_up

FOUND = [
    {"jpeg": 30, "dead": 12, "stripes": {"rows": 2.0}, "noise": 12.34, "scale": 2.0, "blur": 1.5},
    {"enlarged": 3.0, "frame": 0.71, "noise": ["shared", 8, 0.8]},
    {"noise": ["poisson", 4.0, 2.0], "frame": 0.5},
]


def test_each_correction_is_named_with_the_option_that_prevents_it():
    first, second, third = corrections("abc", FOUND)
    assert first == (
        "a: JPEG blocks of quality 30 removed (--jpeg-a 0 keeps them); "
        "12 dead pixels replaced (--as-is keeps them); "
        "stripes (rows of 2 grey levels) removed (--stripes-a none keeps them); "
        "noise of 12.3 grey levels removed (--noise-a 0 keeps it); "
        "a blur of 1.5 pixels undone (--blur-a 0 keeps it)"
    )
    assert second == (
        "b: an earlier enlargement by 3 undone (--scale-b 1 keeps it); "
        "noise of 8 grey levels, blurred over 0.8 pixels, removed (--noise-b 0 keeps it); "
        "a flat frame around the picture left out (--as-is keeps it)"
    )
    assert third == (
        "c: noise of photons of 4 grey levels each, and 2 of readout, removed "
        "(--as-is keeps it); "
        "a flat frame around the picture left out (--as-is keeps it)"
    )


def test_one_dead_pixel_is_no_plural():
    assert corrections("a", [{"dead": 1}]) == ["a: 1 dead pixel replaced (--as-is keeps it)"]


def test_specified_defects_are_not_reported():
    given = [{"noise": 12.0, "jpeg": 30, "blur": 1.5}, {"scale": 3.0}]
    kinds = [list(one) for one in corrected(FOUND, given)]
    assert kinds == [["dead", "stripes"], ["noise", "frame"], ["noise", "frame"]]
    assert corrections("ab", [{}, {"scale": 2.0}]) == []


def test_invalid_entries_of_a_record_cause_no_error():
    strange = {"noise": [[]], "stripes": {"x" * 1000: 1}, "dead": "x" * 1000, "jpeg": None}
    strange |= {"enlarged": 10**400}  # beyond all floats
    (line,) = corrections("a", [strange], given=3)
    assert corrections("a", [strange], given=[3]) == [line]
    assert len(line) < 500 and "JPEG blocks of quality None" in line


def test_folders_count_corrections(tmp_path):
    kinds = ("noise", "stripes"), ("noise",), ()
    done = [Outcome(tmp_path / f"{k}.png", "fused", corrected=some) for k, some in enumerate(kinds)]
    lines = str(Summary(done)).splitlines()
    assert lines[0] == "corrected in the sources of 3 results: noise in 2, stripes in 1"
    assert len(lines) == 2
    assert "corrected" not in str(Summary(done[2:]))


def test_films_and_volumes_are_summed_up():
    levels = [3.0, 9.0, 12.5, 4.0, 8.0]
    noise = [[{"noise": one}, {}] for one in levels]
    rows = [[], *noise, [{}, {"stripes": {"rows": 2.0}}], [{}, {"stripes": {"rows": 4.0}}]]
    first, second = summed_up(rows, "frames")
    assert first == {"noise": np.median(levels), "in": {"noise": 5}, "of": 8, "unit": "frames"}
    assert second["stripes"] == {"rows": 3.0} and second["in"] == {"stripes": 2}
    laws = [[{"noise": law}] for law in (["shared", 8.0, 0.8], 3.0, ["shared", 9.0, 0.6])]
    assert summed_up(laws, "slices")[0]["noise"] == ["shared", 8.5, 0.7]
    for blur in ([9.0, 30.0], "kernel.png"):  # specified, so the same in all frames
        assert summed_up([[{"blur": blur}]] * 2, "frames")[0]["blur"] == blur
    assert summed_up([[], [{}, {}], None], "frames") == summed_up([], "frames") == []
    assert corrections("ab", [first, second]) == [
        "a: noise of 8 grey levels removed in 5 of 8 frames (median; --noise-a 0 keeps it)",
        "b: stripes (rows of 3 grey levels) removed in 2 of 8 frames "
        "(median; --stripes-b none keeps them)",
    ]
    dead = summed_up([[{"dead": 4}], [{"dead": 5}], [{}]], "slices")
    assert corrections("a", dead) == [
        "a: 5 dead pixels replaced in 2 of 3 slices (median; --as-is keeps them)"
    ]
    frame = summed_up([[{"frame": 0.5}], []], "frames")
    assert corrections("a", frame) == [
        "a: a flat frame around the picture left out in 1 of 2 frames (--as-is keeps it)"
    ]


@pytest.mark.parametrize(
    "strange", [None, 3, "x", [], [[]], ["", {}], {"a": []}, 10**400, float("nan"), [3, [4]]]
)
def test_invalid_entries_of_a_manifest_cause_no_error(strange):
    for row in (strange, [strange], [{"noise": strange, "stripes": strange, "dead": strange}]):
        found = summed_up([row, row], "frames")
        json.dumps(found, allow_nan=False)
        corrections("abc", found)
    corrections("a", [{"noise": 3.0, "in": strange, "of": strange, "unit": "frames"}])
    corrections("a", [{"noise": 3.0, "in": {"noise": strange}, "of": 3, "unit": strange}])
