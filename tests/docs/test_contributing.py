"""CONTRIBUTING.md describes the structure of the program; these tests check the description."""

from __future__ import annotations

import configparser
import re
import sys

import pytest

from command_line import ddfm_run
from ddfm.likelihood.evidence import EvidenceLikelihood
from places import EXAMPLES, ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ALONG = {
    *("cli/__init__.py", "cli/options.py", "cli/opening.py", "cli/writing.py", "arguments.py")
}  # wrap calls, and lead nowhere


def test_the_described_calls_lead_from_the_command_to_the_m_step(tmp_path, monkeypatch):
    """The files of the open calls when the likelihood takes its step, outermost first."""
    listed = re.findall(r"^\d\. `ddfm/(\S+)`", PAGE, re.MULTILINE)
    assert len(listed) - 1 <= 6 and len(set(listed)) == len(listed)
    step, ways = EvidenceLikelihood.step, []

    def watched(self, *args):
        frame, way = sys._getframe(), []
        while frame := frame.f_back:
            path = frame.f_code.co_filename.removeprefix(f"{ROOT / 'ddfm'}/")
            way += [path] if path != frame.f_code.co_filename and path not in ALONG else []
        ways.append([*dict.fromkeys(reversed(way)), "likelihood/evidence.py"])
        return step(self, *args)

    monkeypatch.setattr(EvidenceLikelihood, "step", watched)
    sources = (EXAMPLES / f"brain_{kind}.png" for kind in ("t1", "pd"))
    out = tmp_path / "f.png"
    result = ddfm_run("fuse", *sources, "-o", out, "--steps", 1, "--prior", "gaussian")
    assert result.exit_code == 0, result.output
    assert ways == [listed]


def test_the_listed_floors_are_those_of_the_import_contract():
    """As listed in the text, and as `lint-imports` reads them."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    layers = settings["importlinter:contract:floors"]["layers"].split("\n")[1:]
    contract = [set(re.findall(r"\w+", layer)) for layer in layers]
    rows = re.findall(r"^\| \d+ \| (.*?) \|", PAGE, re.MULTILINE)
    assert [set(re.findall(r"(\w+)(?:\.py|/)`", row)) for row in rows] == contract


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_to_existing_places(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)", text)
    assert links
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_named_files_exist():
    for path in re.findall(r"`((?:ddfm|tests|docs)/[\w/.]*)`", PAGE):
        assert (ROOT / path).exists(), path
