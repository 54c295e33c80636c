"""Makes a prior of one of ddfm's U-Nets and its noise schedule."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddfm.errors import InputError
from ddfm.priors.checkpoints import save_checkpoint
from ddfm.priors.prior import FunctionPrior
from ddfm.priors.residual_unet import ResidualUNet
from ddfm.priors.settings import network_times
from ddfm.priors.unet import UNet
from ddfm.storage.files import make_folder

__all__ = ["OwnTimes", "UNetPrior"]


class OwnTimes(nn.Module):
    """A network that is called with `times[t]` instead of t.

    For networks that expect t * 1000 / T, and for processes that visit only some of the network's
    timesteps. The times are not a buffer, so that `to(dtype)` does not round them.
    """

    def __init__(self, network: Callable[[Tensor, Tensor], Tensor], times: Tensor) -> None:
        super().__init__()
        self.network = network
        self.times = times

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.network(x, self.times_of(t))

    def times_of(self, t: Tensor) -> Tensor:
        self.times = self.times.to(t.device)
        return self.times[t]


class UNetPrior(FunctionPrior):
    """A U-Net as a prior, with the decoder's last maps at every scale as features.

    Args:
        network: a `UNet` or `ResidualUNet`.
        alphas_bar, kind, name, info: as for `FunctionPrior`.
        times: (T,), what the network is called with if not 0 .. T-1.
    """

    def __init__(
        self,
        network: UNet | ResidualUNet,
        alphas_bar: Tensor,
        *,
        kind: str = "eps",
        times: Tensor | None = None,
        name: str = "",
        info: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            network if times is None else OwnTimes(network, times.float()),
            alphas_bar,
            kind=kind,
            channels=network.config.in_channels,
            multiple=network.config.multiple,
            name=name or "unet",
            info=info,
        )
        self.network = network
        self.dtype = next(network.parameters()).dtype

    def features(self, x_t: Tensor, t: Tensor, finest: int = 1) -> list[Tensor]:
        times = self.function.times_of(t) if isinstance(self.function, OwnTimes) else t
        return self.network.features(x_t.to(self.dtype or torch.float32), times, finest)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        T = len(self.alphas_bar)
        settings = asdict(self.network.config) | {
            "kind": self.kind,
            "alphas_bar": self.alphas_bar,
            "T": T,
            "rescale_timesteps": isinstance(self.function, OwnTimes),
            "name": self.name,
        }
        expected = network_times(settings, T)
        if isinstance(self.function, OwnTimes) and (
            expected is None or not torch.equal(expected.float(), self.function.times.cpu())
        ):
            raise InputError(
                f"the prior {self.name} visits only a part of its timesteps; save the whole prior"
            )
        path = Path(folder) / "model.safetensors"
        make_folder(path.parent)
        save_checkpoint(path, self.network.state_dict(), settings)
