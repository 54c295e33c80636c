"""Which timesteps a loop visits. In pure Python, so that importing it is fast."""

from __future__ import annotations

from ddfm.errors import InputError, short

__all__ = ["counts_of", "timesteps"]


def timesteps(T: int, respacing: int | str) -> list[int]:
    """Which of T timesteps to visit, from the noisiest to the cleanest.

    `respacing` follows the rules of guided-diffusion's `timestep_respacing`:

    100, "100"      100 steps, evenly spaced from 0 to T-1 inclusive, and rounded;
    "10,15,20"      equal sections of T, from the clean end to the noisy one, with 10, 15 and 20
                    steps;
    "ddim50"        the smallest integer stride from 0 that gives exactly 50 steps.

    One difference: a single step is T-1, where sampling starts, instead of 0.
    For a warm start at t0, call `timesteps(t0 + 1, steps)`.
    """
    if T < 1:
        raise InputError(f"there must be at least 1 timestep, not T = {T}")
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
    """The counts in a respacing; raises if it cannot be read."""
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
            f"cannot read steps {short(text)}: use a count of at least 1 (100), "
            "counts for sections (10,15,20) or ddimN (ddim50)"
        )
    return count


def _spread(length: int, count: int, text: str) -> list[int]:
    if count > length:
        raise InputError(
            f"steps {short(text)} ask for {count} steps, but the schedule has {length} there"
        )
    stride = (length - 1) / (count - 1) if count > 1 else 1.0
    # Summed, not multiplied, so that ties are rounded as in guided-diffusion.
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
