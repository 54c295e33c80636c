"""The settings of a prior that its network's weights do not imply: their names, types and checks.

They are the `kind` of prediction, the noise schedule (`schedule` and `T`, or `betas`, or
`alphas_bar`), `rescale_timesteps` (whether the network is called with t * 1000 / T, as in
improved-diffusion), and the parts of the architecture that the shapes of the weights do not show
(`num_heads`, `num_head_channels`, `use_new_attention_order`, `patch`, `norm_groups`). They are
given in a JSON file next to the weights, in the weights' metadata, or as arguments. Names are those
of guided-diffusion's flags if there is one; its `noise_schedule`, `diffusion_steps` and
`predict_xstart` are accepted as well.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddfm.errors import InputError, short, unknown
from ddfm.priors.prior import KINDS
from ddfm.priors.schedule import alphas_bar as named_schedule
from ddfm.priors.schedule import alphas_bar_of_betas
from ddfm.priors.unet import UNetConfig

__all__ = [
    "DIFFUSION",
    "NETWORK",
    "SCHEDULES",
    "SETTINGS",
    "alphas_bar_of",
    "check_schedule",
    "missing_diffusion",
    "network_times",
    "normalised",
    "overlaid",
    "refuse_missing",
]

NETWORK = {field.name: str(field.type) for field in fields(UNetConfig)}
DIFFUSION = {
    "kind": "str",
    "schedule": "str",
    "T": "int",
    "rescale_timesteps": "bool",
    "betas": "vector",
    "alphas_bar": "vector",
}
SETTINGS = NETWORK | DIFFUSION
SCHEDULES = ("schedule", "betas", "alphas_bar")  # a noise schedule is given by one of these
# Bounds on integers and multipliers, beyond which there is no sensible network. LEAST is 1 if not
# listed, MOST is LARGEST.
LEAST = {"num_head_channels": -1, "num_heads_upsample": -1}  # -1: use num_heads instead
MOST = {"num_res_blocks": 64, "patch": 64, "T": 1_000_000}
LARGEST = 100_000
OTHER_NAMES = {
    "noise_schedule": "schedule",
    "diffusion_steps": "T",
    "timesteps": "T",
    "num_channels": "model_channels",
    "prediction": "kind",
}
# A value for each setting that a prior may lack, for messages.
EXAMPLES = {
    "kind": "eps",
    "schedule": "linear",
    "T": 1000,
    "channels": 3,
    "rescale_timesteps": False,
    "num_heads": 4,
    "use_new_attention_order": False,
}


def normalised(
    given: Mapping[str, Any], where: str, only: Collection[str] | None = None
) -> dict[str, Any]:
    """Settings under ddfm's names, with values of the right type.

    Args:
        given: the settings; those of the network may be nested under "network", "unet" or
            "config". Other keys (a licence, a description) are kept unchanged.
        where: the source of the settings, for messages.
        only: the keys that are allowed; None allows all.
    """
    flat: dict[str, Any] = {}
    for key, value in given.items():
        if key in ("network", "unet", "config") and isinstance(value, Mapping):
            flat |= value
        else:
            flat[key] = value
    settings: dict[str, Any] = {}
    for key, value in flat.items():
        if key == "predict_xstart":
            settings["kind"] = "x0" if value else "eps"
            continue
        key = OTHER_NAMES.get(key, key)
        if only is not None and key not in only:
            raise unknown("setting", key, only)
        if key in SETTINGS and (value is None or (isinstance(value, str) and not value)):
            continue  # in guided-diffusion's flags, this means the default
        settings[key] = _typed(key, value, where) if key in SETTINGS else value
    if settings.get("kind", "eps") not in KINDS:
        raise unknown("prediction kind", str(settings["kind"]), KINDS)
    check_schedule(settings, where)
    return settings


def check_schedule(settings: Mapping[str, Any], where: str) -> None:
    """Raises if there is more than one noise schedule, of which one would be ignored."""
    given = [key for key in SCHEDULES if key in settings]
    if len(given) > 1:
        raise InputError(
            f"{where} has both {given[0]} and {given[1]}; a noise schedule is given by one of them"
        )
    for key in given:
        if key != "schedule" and settings.get("T", len(settings[key])) != len(settings[key]):
            raise InputError(
                f"{key} of {where} has {len(settings[key])} timesteps, but T is {settings['T']}"
            )


def _typed(key: str, value: Any, where: str) -> Any:
    """The value of a setting, checked and in its type."""
    kind = SETTINGS[key]
    typed: Any
    if kind == "vector":
        typed = _vector(value)
    elif kind.startswith("tuple"):
        typed = _multipliers(value)
    elif kind == "int":
        typed = _whole(key, value, where)
    else:
        typed = value if isinstance(value, {"bool": bool, "str": str}[kind]) else None
    if typed is None:
        expected = "a list of numbers" if kind.startswith(("tuple", "vector")) else kind
        if key == "schedule":
            expected = "a name such as linear (numbers are betas or alphas_bar)"
        raise InputError(f"{key} of {where} must be {expected}, not {short(value)}")
    return typed


def _whole(key: str, value: Any, where: str) -> int | None:
    """A whole number within its bounds; None if it is no whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    least, most = LEAST.get(key, 1), MOST.get(key, LARGEST)
    if not least <= value <= most:
        raise InputError(f"{key} of {where} must be from {least} to {most}, not {short(value)}")
    return value


def _vector(value: Any) -> Tensor | None:
    """A float64 vector from any sequence of finite numbers, or None."""
    with suppress(TypeError, ValueError, RuntimeError, OverflowError):
        if value.is_complex() if isinstance(value, Tensor) else np.iscomplexobj(value):
            return None  # torch would drop the imaginary part with a warning
        if isinstance(value, np.ndarray):
            value = value.copy()  # torch takes no negative strides
        vector = torch.as_tensor(value, dtype=torch.float64, device="cpu").detach()
        if vector.ndim == 1 and 1 <= len(vector) <= MOST["T"] and vector.isfinite().all():
            return vector
    return None


def _multipliers(value: Any) -> tuple[float, ...] | None:
    """A tuple from a few positive numbers, or whole ones separated by commas, or None."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = [int(part) for part in value.split(",")]
    if not isinstance(value, list | tuple) or len(value) > 16:
        return None
    plain = all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
    return tuple(value) if plain and all(0 < v <= LARGEST for v in value) else None


def overlaid(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Settings from several sources; later ones replace earlier ones.

    A schedule replaces another one, and the number of timesteps if it is a list of numbers.

    A number of heads also replaces the channels per head of an earlier source, which would
    otherwise take precedence in the network.
    """
    settings: dict[str, Any] = {}
    for layer in layers:
        if any(key in layer for key in SCHEDULES):
            stale = {*SCHEDULES} if "schedule" in layer else {*SCHEDULES, "T"}
            settings = {key: value for key, value in settings.items() if key not in stale}
        settings |= layer
        if "num_heads" in layer and "num_head_channels" not in layer:
            settings["num_head_channels"] = -1
    return settings


def alphas_bar_of(settings: Mapping[str, Any]) -> Tensor:
    """abar_t from settings that give it directly, or give betas, or name a schedule."""
    if "alphas_bar" in settings:
        return settings["alphas_bar"]
    if "betas" in settings:
        return alphas_bar_of_betas(settings["betas"])
    return named_schedule(settings["schedule"], settings["T"])


def network_times(settings: Mapping[str, Any], T: int) -> Tensor | None:
    """The times that a network is called with instead of 0 .. T-1, shape (T,); None if the same."""
    if not settings.get("rescale_timesteps") or T == 1000:
        return None
    return torch.arange(T, dtype=torch.float64) * (1000 / T)


def missing_diffusion(settings: Mapping[str, Any]) -> list[str]:
    """The settings of the diffusion process that are missing."""
    missing = [] if "kind" in settings else ["kind"]
    if not {"betas", "alphas_bar"} & settings.keys():
        missing += [key for key in ("schedule", "T") if key not in settings]
    return missing


def refuse_missing(missing: Iterable[str], where: str, how: str) -> None:
    """Raise if settings are missing, with their names.

    Args:
        missing: the names.
        where: what lacks them.
        how: the remedy, with {json} or {keywords} for an example of each missing setting.
    """
    missing = list(missing)
    if not missing:
        return
    examples = {key: EXAMPLES[key] for key in missing}
    keywords = ", ".join(f"{key}={value!r}" for key, value in examples.items())
    remedy = how.format(json=json.dumps(examples), keywords=keywords)
    raise InputError(f"{where} does not specify {', '.join(missing)}; {remedy}")
