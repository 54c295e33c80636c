"""The head's file: safetensors in half precision, whose metadata say all that is needed to use it.

t, noise      what the features are read with
prior         name and fingerprint of the prior that it was trained on
gains         by how much results may be spread, see `ddfm.dmfuse.fuse`
network       the head's `HeadConfig`
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ddfm.dmfuse.features import NOISES, shape_of_features
from ddfm.dmfuse.network import Head, HeadConfig
from ddfm.errors import DdfmError, one_line
from ddfm.priors.prior import Prior
from ddfm.storage.atomic import atomic_path
from ddfm.storage.shipped import shipped

__all__ = ["About", "check_prior", "load_head", "save_head", "shipped_head"]

KEY = "ddfm-dmfuse"
NOT_INSTALLED = "the weights of DMFuse are not installed; reinstall ddfm, or name some with head"


@dataclass(frozen=True)
class About:
    """What a head is, beside its weights."""

    network: HeadConfig
    t: tuple[int, ...]
    noise: str
    prior: str
    fingerprint: str | None
    loss: str
    gains: tuple[float, float] = (1.0, 1.0)


def shipped_head() -> Path:
    """The head that comes with ddfm."""
    path = shipped("dmfuse.safetensors")
    if path is None:
        raise DdfmError(NOT_INSTALLED)
    return path


def save_head(path: Path, head: Head, about: About) -> None:
    """Weights and metadata; the file appears whole."""
    from safetensors.torch import save_file

    weights = {k: v.half().contiguous().cpu() for k, v in head.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(weights, temporary, metadata={KEY: json.dumps(asdict(about))})


def load_head(path: Path) -> tuple[Head, About]:
    """A head in float32 on the CPU, ready to use."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            weights = {key: file.get_tensor(key).float() for key in file.keys()}
    except (OSError, SafetensorError) as error:
        raise DdfmError(f"cannot read the head {path}: {error}") from None
    if text is None:
        raise DdfmError(f"{path} is no head of DMFuse; train one with ddfm train-dmfuse")
    try:
        about = _about(json.loads(text))
        head = Head(about.network)
        head.load_state_dict(weights)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise DdfmError(
            f"the head {path} does not fit this version of ddfm: {one_line(error)}"
        ) from None
    if not all(torch.isfinite(weight).all() for weight in weights.values()):
        raise DdfmError(f"the head {path} has weights that are not numbers")
    return head.eval().requires_grad_(False), about


def _about(told: dict[str, Any]) -> About:
    network = HeadConfig(**told.pop("network"))
    about = About(network, tuple(told.pop("t")), gains=tuple(told.pop("gains")), **told)
    if about.noise not in NOISES or not all(map(math.isfinite, about.gains)):
        raise ValueError(f"noise {about.noise!r}, gains {about.gains}")
    return about


def check_prior(prior: Prior, about: About) -> None:
    """Refuses a prior that has no features, or others than the head was trained on."""
    if about.network.plain:
        if prior.multiple % about.network.multiple:
            raise DdfmError(f"the prior {prior.name} works on too fine a grid for this head")
        return
    channels, patch = shape_of_features(prior)
    expected = tuple(n * len(about.t) for n in channels), patch
    same = prior.fingerprint == about.fingerprint
    if not same or expected != (about.network.channels, about.network.patch):
        raise DdfmError(
            f"this head of DMFuse was trained on features of the prior {about.prior} "
            f"({_short(about.fingerprint)}), not on those of {prior.name} "
            f"({_short(prior.fingerprint)}); train one with ddfm train-dmfuse --prior"
        )


def _short(fingerprint: str | None) -> str:
    return f"sha256 {fingerprint[:12]}" if fingerprint else "no fingerprint"
