"""What `ddfm cite` prints is BibTeX."""

from __future__ import annotations

import re

from command_line import ddfm_run
from ddfm import __version__


def test_it_prints_three_entries_with_balanced_braces():
    text = ddfm_run("cite").stdout
    entries = re.findall(r"^@(\w+)\{(\w+),\n(.*?)^\}$", text, flags=re.M | re.S)
    assert [name for _, name, _ in entries] == ["ddfm", "zhao2023ddfm", "qi2024dmfuse"]
    for _, _, fields in entries:
        assert fields.count("{") == fields.count("}")
        assert re.search(r"^  title +=", fields, flags=re.M)
    assert f"{{{__version__}}}" in entries[0][2]
