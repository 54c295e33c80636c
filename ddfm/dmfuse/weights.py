"""Reads and writes heads: safetensors in half precision, with metadata on how to use them.

t, noise              timesteps and noise of the features
prior, fingerprint    the prior that the head was trained on
network               the head's `HeadConfig`
loss                  the loss that it was trained with
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from ddfm.dmfuse.features import NOISES, shape_of_features
from ddfm.dmfuse.network import OUTPUTS, Head, HeadConfig
from ddfm.errors import HostError, InputError, one_line, short
from ddfm.priors.prior import Prior
from ddfm.storage.files import write_weights
from ddfm.storage.inputs import existing_file, json_object
from ddfm.storage.shipped import shipped

__all__ = ["About", "check_prior", "load_head", "save_head", "shipped_head"]

KEY = "ddfm-dmfuse"


def _whole(most: int) -> Callable[[Any], bool]:
    """A check whether a value is an int from 1 to `most`."""
    return lambda value: type(value) is int and 1 <= value <= most


def _several(check: Callable[[Any], bool], most: int = 16) -> Callable[[Any], bool]:
    """A check whether a value is a list of 1 to `most` values that pass a check."""
    return lambda value: (
        isinstance(value, list) and 1 <= len(value) <= most and all(map(check, value))
    )


# A check for each entry of the metadata.
_NETWORK: dict[str, Callable[[Any], bool]] = {
    "channels": _several(_whole(100_000)),
    "patch": _whole(64),
    "width": _whole(10_000),
    "attention": lambda value: type(value) is bool,
    "plain": lambda value: type(value) is bool,
    "output": lambda value: value in OUTPUTS,
}
_ABOUT: dict[str, Callable[[Any], bool]] = {
    "t": _several(lambda value: type(value) is int and 0 <= value < 1_000_000),
    "noise": lambda value: value in NOISES,
    "prior": lambda value: isinstance(value, str),
    "fingerprint": lambda value: value is None or isinstance(value, str),
    "loss": lambda value: isinstance(value, str),
}
NOT_INSTALLED = "the weights of DMFuse are not installed; reinstall ddfm, or set head (--head)"


@dataclass(frozen=True)
class About:
    """The metadata of a head."""

    network: HeadConfig
    t: tuple[int, ...]
    noise: str
    prior: str
    fingerprint: str | None
    loss: str


def shipped_head() -> Path:
    """The path of the head shipped with ddfm."""
    path = shipped("dmfuse.safetensors")
    if path is None:
        raise HostError(NOT_INSTALLED)
    return path


def save_head(path: Path, head: Head, about: About) -> None:
    """Writes the weights and metadata of a head, atomically."""
    weights = {k: v.half().contiguous().cpu() for k, v in head.state_dict().items()}
    write_weights(path, weights, {KEY: json.dumps(asdict(about))})


def load_head(path: Path) -> tuple[Head, About]:
    """A head in float32 on the CPU, ready to use."""
    from safetensors import SafetensorError, safe_open

    path = existing_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            names = file.keys()
            weights = {name: file.get_tensor(name).float() for name in names}
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"cannot read the head {path}: it is not a whole safetensors file, as ddfm "
            f"train-dmfuse writes it: {one_line(error)}"
        ) from None
    if text is None:
        raise InputError(f"{path} is not a head of DMFuse; train one with ddfm train-dmfuse")
    about = _about(json_object(text, f"the metadata of {path}"), path)
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers that are too narrow to have any weights
            head = Head(about.network)
        head.load_state_dict(weights, assign=True)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"the head {path} does not fit this version of ddfm: {one_line(error)}"
        ) from None
    if not all(torch.isfinite(weight).all() for weight in weights.values()):
        raise InputError(f"the head {path} has weights that are not numbers")
    return head.eval().requires_grad_(False), about


def _about(entries: dict[str, Any], path: Path) -> About:
    """The metadata, after checking that all entries are known, valid and complete."""
    network = entries.pop("network", None)
    entries.pop("gains", None)  # heads of ddfm 0.9 had a tone of their own
    if not isinstance(network, dict):
        raise InputError(f"the head {path} is damaged: it does not describe its network")
    for values, checks, made in ((network, _NETWORK, HeadConfig), (entries, _ABOUT, About)):
        for key, value in values.items():
            if key not in checks or not checks[key](value):
                raise InputError(
                    f"the head {path} does not fit this version of ddfm: {short(key)} is "
                    f"{short(value)}"
                )
        needed = {field.name for field in fields(made) if field.default is MISSING}
        if missing := sorted(needed - values.keys() - {"network"}):
            raise InputError(f"the head {path} is damaged: it lacks {', '.join(missing)}")
    return About(HeadConfig(**network), **entries | {"t": tuple(entries["t"])})


def check_prior(prior: Prior, about: About) -> None:
    """Refuses a prior without features, or with others than the head was trained on."""
    if about.network.plain:
        if prior.multiple % about.network.multiple:
            raise InputError(
                f"sizes of the prior {prior.name} are multiples of {prior.multiple}, and this head "
                f"needs multiples of {about.network.multiple}"
            )
        return
    channels, patch = shape_of_features(prior)
    expected = tuple(n * len(about.t) for n in channels), patch
    same = prior.fingerprint == about.fingerprint
    if not same or expected != (about.network.channels, about.network.patch):
        raise InputError(
            f"this head of DMFuse was trained on features of the prior {about.prior} "
            f"({_short(about.fingerprint)}), not on those of {prior.name} "
            f"({_short(prior.fingerprint)}); train one with ddfm train-dmfuse --prior"
        )


def _short(fingerprint: str | None) -> str:
    return f"sha256 {fingerprint[:12]}" if fingerprint else "no fingerprint"
