"""Runs the command line in tests, and checks the form of a refusal."""

from __future__ import annotations

import signal
import subprocess

from click.testing import CliRunner, Result

from ddfm.cli import main

QUICK = ["--prior", "gaussian", "--steps", "2", "--device", "cpu"]  # with the default likelihood
FAST = [*QUICK, "--likelihood", "paper"]


def heeding() -> None:
    """The process of the tests may ignore signals, as under `nohup`, and so would its children."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def ddfm_run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result: Result | subprocess.CompletedProcess[str], *words: str) -> str:
    """One clear line on standard error, nothing on standard output, exit code 2."""
    code = result.exit_code if isinstance(result, Result) else result.returncode
    lines = result.stderr.splitlines()
    assert (code, result.stdout, len(lines)) == (2, "", 1), result.stderr
    assert lines[0].startswith("ddfm: error: ")
    for word in words:
        assert word in lines[0]
    return lines[0]
