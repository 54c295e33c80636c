"""Which timesteps a loop visits. Whole numbers only; nothing heavy is imported."""

from __future__ import annotations

from ddfm.errors import InputError, short

__all__ = ["counts_of", "timesteps"]


def timesteps(T: int, respacing: int | str | None = None) -> list[int]:
    """Which of T timesteps to visit, from the noisiest to the cleanest.

    By the rules of guided-diffusion's `timestep_respacing`:

    100, "100"      so many steps, evenly spaced over 0 .. T-1, both ends kept, rounded;
    "10,15,20"      T in equal sections, from the clean end to the noisy one, so many steps in each;
    "ddim50"        an integer stride from 0 that gives exactly so many steps;
    None            every step.

    One departure: a single step is T-1, the end that sampling starts from (theirs is 0).
    For a warm start at t0 ask for `timesteps(t0 + 1, steps)`.
    """
    if T < 1:
        raise InputError(f"there must be at least 1 timestep, not T = {T}")
    if respacing is None:
        return list(range(T))[::-1]
    text = str(respacing).strip()
    counts = counts_of(respacing)
    if text.startswith("ddim"):
        return _strided(T, *counts)[::-1]
    if counts == [1]:
        return [T - 1]
    steps: list[int] = []
    size, extra = divmod(T, len(counts))
    for section, count in enumerate(counts):
        length = size + (section < extra)
        start = section * size + min(section, extra)
        steps += [start + step for step in _spread(length, count, text)]
    return steps[::-1]


def counts_of(respacing: int | str) -> list[int]:
    """The counts in a respacing, or the error of one that cannot be read."""
    text = str(respacing).strip()
    parts = [text[4:]] if text.startswith("ddim") else text.split(",")
    return [_count(part, text) for part in parts]


def _count(part: str, text: str) -> int:
    try:
        count = int(part)
    except ValueError:
        count = 0
    if count < 1:
        raise InputError(
            f"cannot read steps {short(text)}: use a count from 1 on (100), "
            "counts of sections (10,15,20) or ddimN (ddim50)"
        )
    return count


def _spread(length: int, count: int, text: str) -> list[int]:
    if count > length:
        raise InputError(
            f"steps {short(text)} ask for {count} steps where the schedule has {length}"
        )
    stride = (length - 1) / (count - 1) if count > 1 else 1.0
    # Summed up, not multiplied: at ties the rounding then falls as it does in guided-diffusion.
    steps, position = [], 0.0
    for _ in range(count):
        steps.append(round(position))
        position += stride
    return steps


def _strided(T: int, count: int) -> list[int]:
    for stride in range(1, T):
        if len(range(0, T, stride)) == count:
            return list(range(0, T, stride))
    raise InputError(f"no integer stride gives {count} of {T} timesteps; use {count} without ddim")
