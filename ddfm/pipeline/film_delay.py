"""How much later one of two films begins: as given, or by the motion in both."""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from ddfm.arguments import number, one_of
from ddfm.errors import InputError, warn
from ddfm.progress import stage
from ddfm.video.motion import Delay, find_delay

__all__ = ["delay_of"]

LATEST = 86_400  # seconds; a day
NOTICED = 0.4  # least delay in seconds that is told; a sure one may be 0.25 s off


def delay_of(
    a: str | os.PathLike[str], b: str | os.PathLike[str], delay: Any, look: bool = True
) -> tuple[float, list[str]]:
    """How many seconds later video b begins than a, and what was found, in words.

    Args:
        a, b: the films.
        delay: the seconds; "auto" to find them; or None for 0, with a warning if the motion in both
            tells otherwise.
        look: whether to compare the motion if no delay is given.
    """
    auto = isinstance(delay, str) and one_of("delay", delay, ("auto",)) == "auto"
    given = 0.0 if auto or delay is None else number("the delay", delay, -LATEST, LATEST)
    if Path(a).is_dir() or Path(b).is_dir():
        if auto or given:
            raise InputError(
                "a delay (--delay) is for videos; frames of folders are paired by name"
            )
        return 0.0, []
    if not auto and (delay is not None or not look):
        return given, []
    stage("comparing the motion in both films")
    found = Delay(0.0, False)
    with nullcontext() if auto else suppress(InputError):  # a damaged frame is told when it is due
        found = find_delay(Path(a), Path(b))
    which = f"{b} begins {abs(found.seconds):g} s {'after' if found.seconds > 0 else 'before'} {a}"
    if auto and found.sure:
        return found.seconds, [which]
    if auto:
        warn(f"the motion in {a} and {b} does not tell how much later one begins; 0 s is assumed")
    elif found.sure and abs(found.seconds) > NOTICED:
        warn(f"{which}, by the motion in both; --delay {found.seconds:g} pairs them accordingly")
    return 0.0, []
