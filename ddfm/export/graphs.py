"""The graphs that can be exported, each a module that takes and returns tensors.

name      inputs                             output
default   a, b (1, 1, H, W) in [0, 1]        fused luminance in [0, 1], for clean sources
tone      fused, from `default`              fused luminance in [0, 1], with levels spread
dmfuse    a, b as above; H, W multiples      fused luminance in [0, 1]
prior     x (1, C, H, W), t (1,) int64       x0, the clean image expected from x at timestep t
noise     x (1, 1, H, W) in [0, 1]           standard deviation of its noise; 0 for texture
color     fused, a, b (1, 3, H, W) in [0, 1] fused luminance (1, 1, H, W) in the colours of a and b

a is infrared (CT, PET, ...), b is visible (MRI, ...). `default` is the default likelihood for a
task, and `tone` is for the same task. `default` calls no prior, as `ddfm fuse` calls none if
`noise` is less than the `clean` of the configuration for both sources. For the same result, pad
`a` and `b` by reflection to multiples of `pad`, and crop the borders again before the tone.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddfm.arguments import one_of
from ddfm.config import TASKS, FusionConfig
from ddfm.dmfuse.features import noise_like
from ddfm.dmfuse.fuse import DMFuse
from ddfm.errors import InputError
from ddfm.export import GRAPHS
from ddfm.imaging.color import fuse_chroma, limit_chroma, rgb_to_ycbcr, ycbcr_to_rgb
from ddfm.likelihood import make_likelihood
from ddfm.numerics.noise_level import white_deviation
from ddfm.numerics.planes import levels_of
from ddfm.numerics.tone import Tone
from ddfm.priors.prior import FunctionPrior, Prior

__all__ = ["Graph", "make_graph"]

TASK = "ir-visible"
OF_TASKS = ("default", "tone")


@dataclass(frozen=True)
class Graph:
    """A module to export, with example inputs by name.

    Attributes:
        module: the module.
        inputs: examples of its inputs, by name.
        output: the name of its output.
        multiple: heights and widths must be multiples of this.
        about: metadata for programs that run it, stored in the file.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    output: str
    multiple: int
    about: dict[str, str]


def make_graph(name: str, prior: Prior, task: str = TASK) -> Graph:
    """The graph of this name.

    Args:
        name: one of `GRAPHS`.
        prior: the prior for `prior` and `dmfuse`.
        task: the task for `default` and `tone`; the other graphs have only the usual one.
    """
    one_of("task", task, TASKS)
    if task != TASK and name not in OF_TASKS:
        raise InputError(
            f"the graph {name} does not depend on the task; only {', '.join(OF_TASKS)} do"
        )
    one_of("graph", name, GRAPHS)
    image = torch.linspace(0, 1, 96 * 128, dtype=torch.float32).view(1, 1, 96, 128)
    pair = {"a": image, "b": image.flip(-1)}
    config = FusionConfig().resolved(task)
    about = {"clean": f"{config.clean / 2:.8g}", "pad": str(prior.multiple), "task": task}
    if name == "default":
        return Graph(DefaultGraph(task), pair, "fused", 1, about)
    if name == "tone":
        return Graph(ToneGraph(task), {"fused": image}, "toned", 1, {"task": task})
    if name == "dmfuse":
        return Graph(DMFuseGraph(prior), pair, "fused", prior.multiple, about)
    if name == "color":
        rgb = {side: plane.expand(-1, 3, -1, -1) for side, plane in pair.items()}
        return Graph(ColorGraph(), {"fused": image, **rgb}, "rgb", 1, {})
    if name == "noise":
        return Graph(NoiseGraph(), {"x": image}, "noise", 1, {})
    if not isinstance(prior, FunctionPrior) or not isinstance(prior.function, nn.Module):
        raise InputError(
            f"the prior {prior.name} is not a PyTorch network, so it cannot be exported"
        )
    inputs = {"x": image.expand(-1, prior.channels, -1, -1), "t": torch.tensor([50])}
    return Graph(PriorGraph(prior), inputs, "x0", prior.multiple, {})


class DefaultGraph(nn.Module):
    """The sampling loop without calls of the prior: only the likelihood acts at each step."""

    def __init__(self, task: str) -> None:
        super().__init__()
        self.config = FusionConfig().resolved(task)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        options = self.config.options
        sources = [2 * a - 1, 2 * b - 1]
        # With weight 0 for the prior, no check is needed whether it is to be called.
        likelihood = make_likelihood("default", sources, **Tone.others(options) | {"lam": 0.0})
        f = likelihood.first_guess()
        for _ in range(int(self.config.steps)):
            f = likelihood(f)
        return likelihood.finish(f)


class ToneGraph(nn.Module):
    """The step after `default`, which spreads the levels."""

    def __init__(self, task: str) -> None:
        super().__init__()
        self.tone = Tone.among(FusionConfig().resolved(task).options)

    def forward(self, fused: Tensor) -> Tensor:
        return self.tone.applied(fused)[0]


class DMFuseGraph(nn.Module):
    """One pass of the shipped head on the features of the prior, without tiles."""

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        plain = copy.copy(prior)
        # As Python numbers, which become constants of the graph.
        plain.alphas_bar = prior.alphas_bar.tolist()  # type: ignore[assignment]
        self.dmfuse = DMFuse(prior)  # raises if the head was not trained on this prior
        self.dmfuse.prior = plain
        self.head = self.dmfuse.head
        self.tone = Tone.among(FusionConfig(method="dmfuse").resolved(TASK).options)
        # Draws the noise before the export.
        noise_like(torch.zeros(1, 1, 1, 1), self.dmfuse.about.noise, [0])

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        fused = levels_of(self.dmfuse(2 * a - 1, 2 * b - 1, tile=0))
        return self.tone.applied(fused)[0]


class PriorGraph(nn.Module):
    """One call of a prior whose network is a module."""

    def __init__(self, prior: FunctionPrior) -> None:
        super().__init__()
        self.network = prior.function
        self.prior = prior

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.prior(x, t)


class ColorGraph(nn.Module):
    """The colour rules of `ddfm.imaging.inherited`: chroma from every source in colour."""

    def forward(self, fused: Tensor, a: Tensor, b: Tensor) -> Tensor:
        y = 2 * fused - 1
        cb, cr = fuse_chroma([rgb_to_ycbcr(2 * x - 1)[:, 1:] for x in (a, b)]).split(1, 1)
        rgb = ycbcr_to_rgb(torch.cat([y, *limit_chroma(y, cb, cr)], 1))
        return ((rgb + 1) / 2).clamp(0, 1)


class NoiseGraph(nn.Module):
    """The noise level, of levels from 0 to 1; `ddfm fuse` removes it if it is at least `clean`."""

    def forward(self, x: Tensor) -> Tensor:
        return white_deviation(x)
