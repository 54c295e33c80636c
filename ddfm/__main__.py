"""Runs the command `ddfm`, also as `python -m ddfm`."""

from __future__ import annotations

import os
import signal

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
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


if __name__ == "__main__":
    run()
