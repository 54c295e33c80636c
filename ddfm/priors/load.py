"""Loads a prior from a name, a file, a folder, an object of another library, or a function."""

from __future__ import annotations

from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ddfm.arguments import by_annotation
from ddfm.errors import InputError
from ddfm.extensions import find_part
from ddfm.numerics.device import find_device, find_dtype, undisturbed
from ddfm.priors import adapters, catalog, hub
from ddfm.priors.checkpoints import check_finite, read_settings, read_state_dict
from ddfm.priors.entries import ENTRIES, known, of_file
from ddfm.priors.gaussian import GaussianPrior
from ddfm.priors.layout import build, infer_settings, missing_network
from ddfm.priors.network import UNetPrior
from ddfm.priors.prior import Prior
from ddfm.priors.settings import (
    SETTINGS,
    alphas_bar_of,
    check_schedule,
    missing_diffusion,
    network_times,
    normalised,
    overlaid,
    refuse_missing,
)
from ddfm.storage.checksum import sha256_of
from ddfm.storage.inputs import with_home

__all__ = ["load_checkpoint", "load_prior"]


@undisturbed()
@by_annotation
def load_prior(
    x: Any,
    *,
    kind: str | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    name: str | None = None,
    scheduler: Any = None,
    diffusion: Any = None,
    **config: Any,
) -> Prior:
    """The prior that `x` stands for.

    Args:
        x: a name in the catalogue (`ddfm priors list`; downloaded on first use), the path of a
            checkpoint (.safetensors, .pt, .pth, .bin), a folder written by `save_pretrained` or of
            a diffusers model, either of these on a hub ("hf://OWNER/NAME"), a diffusers pipeline, a
            UNet2DModel with `scheduler`, a model of guided-diffusion with `diffusion`, a tuple of a
            model and either of these, any callable (x_t, t), or a prior. A callable is given x_t
            (B, C, H, W), noisy images of a range of -1 to 1, and timesteps t (B,). A network is
            called without dropout, and is left in the mode that it was in.
        kind: what the network predicts, "eps", "x0" or "v", if `x` does not define it.
        device, dtype: where and in what precision it computes, by the names that `Fuser` takes, or
            as torch objects; for files, the default is the CPU and float32. A model in memory is
            moved, not copied.
        name: the name of the prior in results, unless `x` is a prior, which has its own.
        scheduler: the diffusers scheduler of a UNet2DModel, or of another network: it defines the
            noise schedule, and what the network predicts.
        diffusion: the GaussianDiffusion of a model of guided-diffusion.
        config: other settings that `x` does not define: schedule ("linear", "cosine") and T, or
            betas, or alphas_bar (one number per timestep); num_heads or num_head_channels and
            use_new_attention_order for a checkpoint; channels (1 or 3) and multiple for a
            callable. An error names what is missing.
    """
    device = find_device(device) if isinstance(device, str) else device
    dtype = find_dtype(dtype) if isinstance(dtype, str) else dtype
    if kind is not None:
        config["kind"] = kind
    if isinstance(x, tuple) and len(x) == 2:
        x, process = x
        if adapters.is_gaussian_diffusion(process):
            diffusion = process
        else:
            scheduler = process
    if isinstance(x, str | Path):
        _refuse({"diffusion": diffusion}, "a name or a path")
        prior = _from_text(x, device, dtype, name, scheduler, config)
    else:
        prior = _from_object(x, name, scheduler, diffusion, config)
    return prior if device is None and dtype is None else prior.to(device, dtype)


def _from_object(
    x: Any, name: str | None, scheduler: Any, diffusion: Any, config: dict[str, Any]
) -> Prior:
    if isinstance(x, Prior):
        others = {"name": name, "scheduler": scheduler, "diffusion": diffusion}
        _refuse(config | others, "a prior object")
        return x
    if diffusion is not None:
        kind = config.pop("kind", None)
        prior = adapters.from_guided_diffusion(x, diffusion, name=name, kind=kind)
        _refuse(config, "a model with its diffusion")
        return prior
    if adapters.is_diffusers(x) or (scheduler is not None and not callable(x)):
        prior = adapters.from_diffusers(x, scheduler, name=name, kind=config.pop("kind", None))
        _refuse(config, "a diffusers model")
        return prior
    if callable(x):
        return adapters.from_callable(x, scheduler, name=name, **config)
    raise InputError(f"cannot make a prior of a {type(x).__name__}; see help(ddfm.load_prior)")


def _from_text(
    x: str | Path,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    name: str | None,
    scheduler: Any,
    config: dict[str, Any],
) -> Prior:
    if isinstance(x, str) and (entry := known(x)) is not None:
        if entry.name == "gaussian":
            _refuse({"scheduler": scheduler}, "the prior gaussian")
            return _gaussian(config, name or entry.name)
        name = name or entry.name
        x = catalog.path_of(entry.name) or catalog.get(entry.name)
    elif isinstance(x, str) and hub.is_of_hub(x):
        name, x = name or x, hub.fetch(x)
    path = with_home(x)
    if path.is_dir() and (path / hub.OWN).is_file():
        path = path / hub.OWN
    if path.is_dir():
        prior = adapters.from_folder(path, scheduler, name=name, kind=config.pop("kind", None))
        _refuse(config, "a diffusers folder")
        return prior
    if not path.exists() and not path.suffix and len(path.parts) == 1:
        found, name = _of_package(str(x), name)
        return load_prior(
            found, device=device, dtype=dtype, name=name, scheduler=scheduler, **config
        )
    _refuse({"scheduler": scheduler}, "a checkpoint")
    return load_checkpoint(
        path, device=device or "cpu", dtype=dtype or torch.float32, name=name, **config
    )


def _of_package(x: str, name: str | None) -> tuple[Any, str | None]:
    """What another package's function for this name returned, to be loaded with a name, if any."""
    found = find_part("prior", x, dict.fromkeys(ENTRIES))()
    name = name or x  # in results: by this one it can be loaded again
    if isinstance(found, Prior):
        found = copy(found)
        found.name, name = name, None
    return found, name


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
    check_schedule(given, where)
    settings = infer_settings(state, given, where)
    missing = missing_network(settings) + missing_diffusion(settings)
    if settings.get("T", 1000) != 1000 and "rescale_timesteps" not in settings:
        missing.append("rescale_timesteps")
    refuse_missing(missing, where, _remedy(path))
    check_finite(state, where)
    network = build(state, settings, where, device, dtype)
    alphas_bar = alphas_bar_of(settings)
    architecture = asdict(network.config)
    extras = {key: settings[key] for key in settings if key not in {*SETTINGS, *architecture}}
    info = extras | {
        "source": where,
        "sha256": sha256_of(path),
        "kind": settings["kind"],
        "T": len(alphas_bar),
        "schedule": settings.get("schedule", "given"),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "config": architecture,
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


def _gaussian(config: dict[str, Any], name: str) -> GaussianPrior:
    own = ("spectrum", "channels", "mean", "std")
    settings = normalised(config, "the call", only=(*own, "schedule", "T", "betas", "alphas_bar"))
    given = {key: settings[key] for key in own if key in settings}
    schedule = {"schedule": "linear", "T": 1000} | settings
    return GaussianPrior(**given, name=name, alphas_bar=alphas_bar_of(schedule))


def _refuse(config: dict[str, Any], what: str) -> None:
    given = [key for key, value in config.items() if value is not None]
    if given:
        raise InputError(f"{what} takes no {given[0]}: it has its own settings")
