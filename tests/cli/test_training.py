"""The commands that train: the defaults in their help."""

from __future__ import annotations

import re

import pytest

from ddfm.cli import main
from ddfm.training import dmfuse, train_prior


@pytest.mark.parametrize(
    ("command", "settings", "least"),
    [
        ("train-prior", train_prior.Settings(), 8),
        ("train-dmfuse", dmfuse.Settings(), 9),
    ],
)
def test_defaults_in_the_help_are_those_of_the_settings(command, settings, least):
    seen = 0
    for option in main.commands[command].params:
        stated = re.search(r"\[default: (.+)\]", getattr(option, "help", None) or "")
        if stated is None or not hasattr(settings, option.name):
            continue
        default = getattr(settings, option.name)
        default = ",".join(map(str, default)) if isinstance(default, tuple) else default
        assert stated[1] == str(default), option.name
        seen += 1
    assert seen >= least
