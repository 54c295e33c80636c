"""What goes on while a sampler runs: a progress bar, somebody's callback, snapshots of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from torch import Tensor

from ddfm.diffusion.samplers import Step
from ddfm.imaging.color import luminance
from ddfm.progress import progress_bar

__all__ = ["Callback", "Snapshot", "Watch"]

Callback = Callable[[Step], object]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One step of the loop, in luminance: (H, W) arrays in [-1, 1], x_t with its noise."""

    step: int
    t: int
    x_t: np.ndarray
    x0_prior: np.ndarray
    x0: np.ndarray


@dataclass
class Watch:
    """A sampler's callback, to be entered as a context while the sampler runs.

    Attributes:
        progress: whether there is a bar; None shows one on a terminal, if the work takes a while.
        callback: is called with every `Step`.
        trajectory: whether snapshots are kept.
    """

    progress: bool | None = None
    callback: Callback | None = None
    trajectory: bool = False

    def __enter__(self) -> Watch:
        self.bar = progress_bar(self.progress, desc="fusing", unit="step", delay=1)
        self._steps: list[tuple[int, int, list[np.ndarray]]] = []
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()

    def __call__(self, step: Step) -> None:
        self.bar.total = step.steps
        self.bar.update()
        if self.callback is not None:
            self.callback(step)
        if self.trajectory:
            planes = [_planes(x) for x in (step.x_t, step.x0_prior, step.x0)]
            self._steps.append((step.index, step.t, planes))

    def snapshots(self, image: int, size: tuple[int, int]) -> list[Snapshot]:
        """Those of one image of the batch, without its padding."""
        h, w = size
        return [
            Snapshot(index, t, *(plane[image, :h, :w] for plane in planes))
            for index, t, planes in self._steps
        ]


def _planes(x: Tensor) -> np.ndarray:
    return luminance(x)[:, 0].float().cpu().numpy()
