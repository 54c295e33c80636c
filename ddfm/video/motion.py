"""How much later one video begins than another, from what moves in both.

Levels of two sensors are unrelated, but they see the same motion: that of the cameras, if these are
held together, or that of the scene. The activity of a film is how much its frames differ from one
another in a moment, a(t). The delay is the d at which log a(t + d) of one film and log b(t) of the
other, without their slow changes, correlate best.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from ddfm.video.files import VideoReader
from ddfm.video.timing import in_seconds, lead_of

__all__ = ["Delay", "find_delay"]

LOOK = 120.0  # seconds of each film that are looked at
LEAST = 8.0  # seconds that both films must have in common
SHARE = 0.3  # share of the shorter film that must be common, too
STEP = 0.02  # seconds between the delays that are tried
SHORTEST = 0.05  # seconds of the shortest moment
SLOW = 2.0  # seconds; slower changes of activity are left out
NEAR = 1.0  # seconds around the best delay in which others may be nearly as good
SURE = 0.7  # least correlation; films of different motion reached 0.65
AHEAD = 0.1  # by how much it must exceed that of any other delay, unlike for repeated motion
SIZE = 64, 48  # pixels of the small frames


@dataclass(frozen=True)
class Delay:
    """How many seconds later the second film begins, and whether that is certain."""

    seconds: float
    sure: bool


def find_delay(a: Path, b: Path) -> Delay:
    """The delay of video b after video a."""
    (times, sums, rate), (times2, sums2, rate2) = map(_watched, (a, b))
    moment = max(1 / rate, 1 / rate2, SHORTEST)
    first, second = _activity(times, sums, moment), _activity(times2, sums2, moment)
    least = max(LEAST, SHARE * min(len(first), len(second)) * STEP)
    if min(len(first), len(second)) * STEP < least:
        return Delay(0.0, False)
    lags, likeness = _correlation(first, second, round(least / STEP))
    best = int(likeness.argmax())
    others = likeness[np.abs(lags - lags[best]) * STEP > NEAR]
    ahead = likeness[best] - max(others, default=-1)
    later = float(lags[best]) * STEP + lead_of(a) - lead_of(b)  # times count from decoded frames
    return Delay(round(later, 2), bool(likeness[best] > SURE and ahead > AHEAD))


def _watched(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """The times of the frames of a video, how much changed up to each, and their mean rate."""
    reader = VideoReader(path)
    times, sums, before = [], [0.0], None
    timed = in_seconds(reader.thumbnails(SIZE), reader.rate)
    for time, small in takewhile(lambda frame: frame[0] < LOOK, timed):
        if before is not None:
            sums.append(sums[-1] + float(np.abs(small - before).mean()))
        times.append(time)
        before = small
    rate = (len(times) - 1) / times[-1] if len(times) > 1 else reader.rate
    return np.array(times), np.array(sums), rate


def _activity(times: np.ndarray, sums: np.ndarray, moment: float) -> np.ndarray:
    """The logarithm of the change in a moment around times `STEP` apart, without slow changes."""
    from scipy.ndimage import gaussian_filter1d  # takes long to load

    at = np.arange(0, times[-1] if len(times) else 0, STEP)
    if not len(at):
        return at
    change = np.interp(at + moment / 2, times, sums) - np.interp(at - moment / 2, times, sums)
    level = np.log(change + 0.1 * np.median(change) + 1e-9)
    return level - gaussian_filter1d(level, SLOW / STEP)


def _correlation(a: np.ndarray, b: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """The correlation of a, moved by each lag, with b, where `least` samples are common."""
    size = 1 << (len(a) + len(b) - 1).bit_length()

    def product(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return np.fft.irfft(np.fft.rfft(p, size) * np.conj(np.fft.rfft(q, size)), size)

    ones, others = np.ones_like(a), np.ones_like(b)
    energy = product(a * a, others) * product(ones, b * b)
    likeness = product(a, b) / np.sqrt(np.maximum(energy, 1e-12))
    lags = np.arange(size)
    lags = np.where(lags > size // 2, lags - size, lags)
    common = product(ones, others) >= least
    return lags[common], likeness[common]
