"""The script that plays five kinds of users, in this process."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from command_line import ddfm_run
from places import EXAMPLES

pytest.importorskip("nibabel")
PATH = EXAMPLES.parent / "five_persons.py"


@pytest.fixture(scope="module")
def play():
    spec = importlib.util.spec_from_file_location("five_persons", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["five_persons"] = module
    spec.loader.exec_module(module)

    def run(*arguments: object):
        done = ddfm_run(*arguments)
        return module.Finished(done.exit_code, done.stdout, done.stderr)

    module.run = run
    return module


PERSONS = ("hobbyist", "student", "radiologist", "developer", "photographer")


@pytest.mark.parametrize("name", PERSONS)
def test_each_sentence_holds(play, tmp_path, capsys, name):
    play.PERSONS[name](tmp_path)
    assert len(capsys.readouterr().out.splitlines()) >= 4


def test_a_sentence_that_does_not_hold_ends_it(play):
    assert tuple(play.PERSONS) == PERSONS
    with pytest.raises(SystemExit, match="does not hold: pigs fly"):
        play.holds("pigs fly", False)
