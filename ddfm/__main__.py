"""Runs the command `ddfm`, also as `python -m ddfm`."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["run"]


def run() -> None:
    """The command `ddfm`."""
    _open_standard_streams()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # there is nothing to clean up yet
    from ddfm.cli import main

    main()


def _open_standard_streams() -> None:
    """Opens closed standard streams (`>&-`), whose numbers the next files would get otherwise."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    run()
