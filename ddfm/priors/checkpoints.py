"""Makes priors of files of weights (see `ddfm.priors.weights`).

Settings come from arguments, from the file, or from the catalogue, in this order of precedence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ddfm.priors.entries import of_file
from ddfm.priors.layout import build, infer_settings, missing_network
from ddfm.priors.network import UNetPrior
from ddfm.priors.settings import (
    SETTINGS,
    alphas_bar_of,
    missing_diffusion,
    network_times,
    normalised,
    overlaid,
    refuse_missing,
)
from ddfm.priors.weights import read_settings, read_state_dict
from ddfm.storage.checksum import sha256_of

__all__ = ["load_checkpoint"]


def load_checkpoint(
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    name: str | None = None,
    **config: Any,
) -> UNetPrior:
    """The prior in a file. `config` has settings that the file lacks or that replace its own."""
    path = Path(path)
    where = str(path)
    state = read_state_dict(path)
    entry = of_file(path)
    given = overlaid(
        entry.config if entry else {},
        read_settings(path),
        normalised(config, "the call", only=SETTINGS),
    )
    settings = infer_settings(state, given, where)
    missing = missing_network(settings) + missing_diffusion(settings)
    if settings.get("T", 1000) != 1000 and "rescale_timesteps" not in settings:
        missing.append("rescale_timesteps")
    refuse_missing(missing, where, _remedy(path))
    network = build(state, settings, where, device, dtype)
    alphas_bar = alphas_bar_of(settings)
    extras = {key: value for key, value in settings.items() if key not in SETTINGS}
    info = extras | {
        "source": where,
        "sha256": sha256_of(path),
        "kind": settings["kind"],
        "T": len(alphas_bar),
        "schedule": settings.get("schedule", "given"),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "config": network.config.to_dict(),
    }
    return UNetPrior(
        network,
        alphas_bar,
        kind=settings["kind"],
        times=network_times(settings, len(alphas_bar)),
        name=name or str(settings.get("name") or (entry.name if entry else path.stem)),
        info=info,
    )


def _remedy(path: Path) -> str:
    """How to give the settings that a checkpoint lacks."""
    name = str(path).replace("{", "{{").replace("}", "}}")
    return (
        f"write them into {name}.json, such as {{json}}, or pass them to ddfm.load_prior "
        "(num_head_channels may replace num_heads)"
    )
