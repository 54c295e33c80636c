"""Follows a running sampler: progress bar, the caller's callback, snapshots of each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import numpy as np
from torch import Tensor

from ddfm.arguments import says_no
from ddfm.diffusion.samplers import Step
from ddfm.errors import Cancelled, InputError, short
from ddfm.imaging.color import luminance
from ddfm.progress import counting_parts, progress_bar

__all__ = ["Callback", "Snapshot", "Watch"]

Callback = Callable[[Step], object]
FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One step of the loop in luminance: arrays (H, W) in [-1, 1]; x_t includes noise."""

    step: int
    t: int
    x_t: np.ndarray = field(repr=False)
    x0_prior: np.ndarray = field(repr=False)
    x0: np.ndarray = field(repr=False)


@dataclass
class Watch:
    """A callback for samplers; use it as a context manager while the sampler runs.

    Attributes:
        progress: whether to show a bar; None shows one on a terminal, if the work takes a while.
        callback: called with a copy of every `Step`, so that nothing it does changes the fusion;
            if it returns False, the run ends with `Cancelled`.
        trajectory: whether snapshots are kept.
    """

    progress: bool | None = None
    callback: Callback | None = None
    trajectory: bool = False

    def __enter__(self) -> Watch:
        self.bar = progress_bar(self.progress, desc="fusing", delay=1, bar_format=FORMAT)
        self._likelihood: Any = None
        self._done, self._counting = 0, counting_parts(self._part)
        self._counting.__enter__()
        self._steps: list[tuple[int, int, list[np.ndarray]]] = []
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._counting.__exit__(kind, error, trace)
        self.bar.close()

    def __call__(self, step: Step) -> None:
        if not isinstance(step, Step):
            raise InputError(
                f"a sampler must call its callback with a ddfm.Step, not {short(step)}"
            )
        self._done += 1
        self.bar.total = step.steps
        self._move(self._done, f"step {self._done} of {step.steps}")
        if self.callback is not None and says_no(self.callback(self._copy(step))):
            raise Cancelled("the fusion was cancelled by its callback")
        if self.trajectory:
            planes = [_planes(x) for x in _images(step)]
            self._steps.append((step.index, step.t, planes))

    def _copy(self, step: Step) -> Step:
        x_t, x0_prior, x0 = (x.clone() for x in _images(step))
        number = self._done
        return replace(
            step,
            x_t=x_t,
            x0_prior=x0_prior,
            x0=x0,
            likelihood=self._likelihood,
            is_last=lambda: self._done == number,
        )

    def expect(self, steps: int, likelihood: Any = None) -> None:
        """Sets how many steps there will be, and the likelihood in them."""
        self._likelihood = likelihood
        self.bar.total = steps
        self._done, self.bar.n = 0, 0

    def _part(self, number: int, of: int) -> None:
        """Shows progress within one call of the network."""
        steps = f"step {self._done + 1} of {self.bar.total}, " if self.bar.total else ""
        self._move(self._done + number / of, f"{steps}tile {number} of {of}")

    def _move(self, to: float, words: str) -> None:
        self.bar.set_postfix_str(words, refresh=False)
        self.bar.update(to - self.bar.n)

    def snapshots(self, image: int, size: tuple[int, int]) -> list[Snapshot]:
        """The snapshots of one image of the batch, without its padding."""
        h, w = size
        return [
            Snapshot(index, t, *(plane[image, :h, :w] for plane in planes))
            for index, t, planes in self._steps
        ]


def _images(step: Step) -> list[Tensor]:
    """The images of a step; a sampler that made it may be the user's own, so they are checked."""
    images = [step.x_t, step.x0_prior, step.x0]
    for name, x in zip(("x_t", "x0_prior", "x0"), images, strict=True):
        if not isinstance(x, Tensor):
            raise InputError(
                f"a sampler must call its callback with a ddfm.Step whose {name} is a tensor, not "
                f"{short(x)}"
            )
    return images


def _planes(x: Tensor) -> np.ndarray:
    return luminance(x)[:, 0].float().cpu().numpy()
