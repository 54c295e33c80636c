"""The numbers in docs/algorithm.md are those of the code."""

from __future__ import annotations

import inspect
import re
from importlib import import_module

import pytest

from ddfm.config import OF_TASK, RECIPES
from ddfm.likelihood import EvidenceLikelihood
from places import ROOT

PAGE = (ROOT / "docs" / "algorithm.md").read_text(encoding="utf-8")
# Of the sizes that are computed at a time, and of what only keeps quotients finite.
OF_COMPUTING = {"KEPT", "TINY", "AROUND", "NEAR", "targets.REACH"}


def rows(head: str) -> list[list[str]]:
    """The cells of the table whose first line begins like this."""
    table = PAGE[PAGE.index(head) :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def constants_of(name: str) -> dict[str, object]:
    module = import_module(f"ddfm.likelihood.{name}")
    own = re.findall(r"^([A-Z]+) = ", inspect.getsource(module), re.MULTILINE)
    kept = [one for one in own if not {one, f"{name}.{one}"} & OF_COMPUTING]
    return {one: getattr(module, one) for one in kept}


def test_all_constants_of_the_default_likelihood_are_listed():
    listed: dict[str, dict[str, str]] = {}
    name = ""
    for file, constant, value, _ in rows("| file | constant"):
        name = file.strip("`").removesuffix(".py") or name
        listed.setdefault(name, {})[constant.strip("`")] = value
    for name in ("evidence", "gradients", "targets"):
        values = constants_of(name)
        assert listed[name].keys() == values.keys()
        for constant, value in values.items():
            assert listed[name][constant] == str(value).strip("()").removesuffix(".0")


@pytest.mark.parametrize("column", [1, 2, 3, 4])
def test_all_numbers_of_the_default_settings_are_listed(column):
    """In the column of each task, those that differ from the common ones."""
    task = ["ir-visible", "medical", "multi-exposure", "multi-focus"][column - 1]
    parameters = inspect.signature(EvidenceLikelihood).parameters.values()
    common = {p.name: p.default for p in parameters if isinstance(p.default, float)}
    expected = common if column == 1 else OF_TASK[task]["options"]
    found = {}
    for cells in rows("| | common | medical"):
        names = re.findall(r"`(\w+)`", cells[0])
        if names == ["spread", "gains"]:
            tone = OF_TASK[task].get("tone")
            assert cells[column] == ("0.48, 1.33" if tone else "none")
            assert tone in (None, {"spread": 0.48, "gains": (1.0, 1.33)})
        elif cells[column]:
            found[names[0]] = 0.0 if cells[column] == "none" else float(cells[column])
    others = {"lam", "balance", "saliency"}  # explained in the text
    assert found == {name: value for name, value in expected.items() if name not in others}


def test_the_loop_is_that_of_the_recipe():
    recipe = RECIPES["default"]
    loop = f"The loop makes {recipe['steps']} steps from timestep {recipe['start']}."
    noise = [recipe["clean"], OF_TASK["medical"]["clean"]]
    least, medical = (round(255 / 2 * value) for value in noise)
    assert loop in PAGE
    assert f"Noise of at least {least} grey levels is removed first ({medical} for\n" in PAGE
