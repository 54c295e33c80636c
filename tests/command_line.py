"""Running the command line in tests, and what every refusal looks like."""

from __future__ import annotations

from click.testing import CliRunner, Result

from ddfm.cli import main

FAST = ["--prior", "gaussian", "--likelihood", "paper", "--steps", "2", "--device", "cpu"]


def ddfm_run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result: Result, *words: str) -> None:
    """One clear line on standard error, nothing on standard output, exit code 2."""
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
    assert result.stderr.startswith("ddfm: error: ")
    for word in words:
        assert word in result.stderr
