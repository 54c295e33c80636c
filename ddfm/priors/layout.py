"""Infers a network from the shapes in its state dict, and builds it.

Most layouts are those of guided-diffusion and improved-diffusion: `input_blocks` go down level by
level, `output_blocks` up again, with num_res_blocks + 1 of them per level. The keys of a block
show what it is: `in_layers` (a residual block), `qkv` (attention), `op` (a strided convolution),
`conv` (a convolution after upsampling). A network with a `stem` is ddfm's own `ResidualUNet`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ddfm.errors import InputError, one_line
from ddfm.priors.entries import ADM
from ddfm.priors.residual_unet import ResidualUNet, ResidualUNetConfig
from ddfm.priors.settings import NETWORK, overlaid
from ddfm.priors.unet import UNet, UNetConfig

__all__ = ["build", "infer_settings", "missing_network"]

State = Mapping[str, Tensor]

# Networks so large that any of this shape is OpenAI's for 256 or 512 pixels, or fine-tuned from it.
LARGE = (
    UNetConfig(),
    UNetConfig(channel_mult=(0.5, 1, 1, 2, 2, 4, 4), attention=(16, 32, 64)),
)
OWN = {"stem.weight", "time_embed.0.weight", "last.2.weight"}  # only a ResidualUNet has all
DEEPEST = 8  # levels of one


def infer_settings(state: State, settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The given settings together with those that the shapes imply; raises if they contradict.

    For a network that is recognised by its shapes, these include settings that shapes do not imply.
    """
    if _is_own(state):
        shape = _own_from_shapes(state, where)
        _refuse_settings_of_unet(shape, settings, where)
    else:
        _refuse_others(state, where)
        shape = _from_shapes(state, settings, where)
    known = ADM if any(shape.items() <= vars(large).items() for large in LARGE) else {}
    _refuse_contradiction(shape, settings, where)
    return overlaid(known, settings) | shape


def _refuse_contradiction(
    shape: Mapping[str, Any], settings: Mapping[str, Any], where: str
) -> None:
    for key, value in shape.items():
        if key in settings and _meaning(key, settings[key], shape) != _meaning(key, value, shape):
            raise InputError(
                f"{where} is for another network: its weights have {key}={value}, "
                f"not {key}={settings[key]}"
            )


def _meaning(key: str, value: Any, shape: Mapping[str, Any]) -> Any:
    """A form of the value of a setting that is equal for values that give the same network."""
    levels = len(shape.get("channel_mult", ()))
    if key == "channel_mult":
        return [int(mult * shape["model_channels"]) for mult in value]
    if key == "attention":
        return {factor for factor in value if factor in [2**level for level in range(levels)]}
    if key == "conv_resample" and shape["resblock_updown"]:
        return None
    if key in ("conv_resample", "resblock_updown") and levels == 1:
        return None
    return list(value) if isinstance(value, tuple) else value


def missing_network(settings: Mapping[str, Any]) -> list[str]:
    """The settings of the network that neither the shapes nor the caller gave."""
    if not settings.get("attention") and not settings.get("mid_attention"):
        return []
    by_count = settings.get("num_head_channels", -1) == -1
    missing = ["num_heads"] if by_count and "num_heads" not in settings else []
    in_decoder = settings.get("num_heads_upsample", -1)
    # With a single head, both orders are the same.
    one_head = by_count and settings.get("num_heads") == 1 and in_decoder in (-1, 1)
    if not one_head and "use_new_attention_order" not in settings:
        missing.append("use_new_attention_order")
    return missing


def build(
    state: State,
    settings: Mapping[str, Any],
    where: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> UNet | ResidualUNet:
    """The network with these weights, in evaluation mode; raises if the weights do not fit.

    It is created on the meta device and then takes over the tensors of `state`: no weights are
    initialised for nothing, and those with the right dtype are not copied.
    """
    with torch.device("meta"):
        network = _residual_unet(settings) if _is_own(state) else _unet(settings, where)
    expected = network.state_dict()
    for key, tensor in expected.items():
        if key not in state:
            raise InputError(f"{where} is for another network: it lacks {key}")
        if state[key].shape != tensor.shape:
            raise InputError(
                f"{where} is for another network: {key} has the shape "
                f"{tuple(state[key].shape)} where {tuple(tensor.shape)} is expected"
            )
    for key in state:
        if key not in expected:
            raise InputError(f"{where} is for another network: this one has no {key}")
    weights = {key: state[key].detach().to(device=device, dtype=dtype) for key in expected}
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)


def _is_own(state: State) -> bool:
    return state.keys() >= OWN


def _unet(settings: Mapping[str, Any], where: str) -> UNet:
    network = {key: value for key, value in settings.items() if key in NETWORK}
    network.setdefault("num_head_channels", -1)
    config = UNetConfig(**network)
    _check_heads(config, where)
    try:
        return UNet(config)
    except (ArithmeticError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{where} does not fit its settings (norm_groups={config.norm_groups}): "
            f"{one_line(error)}"
        ) from None


def _residual_unet(settings: Mapping[str, Any]) -> ResidualUNet:
    names = [field.name for field in fields(ResidualUNetConfig)]
    return ResidualUNet(ResidualUNetConfig(**{name: settings[name] for name in names}))


def _check_heads(config: UNetConfig, where: str) -> None:
    name = "num_heads" if config.num_head_channels == -1 else "num_head_channels"
    divisor = getattr(config, name)
    levels = [level for level in range(len(config.channel_mult)) if 2**level in config.attention]
    for level in [*levels, -1] if config.mid_attention else levels:
        channels = int(config.channel_mult[level] * config.model_channels)
        if divisor < 1 or channels % divisor:
            raise InputError(
                f"{name}={divisor} does not divide the {channels} channels of an attention "
                f"in {where}"
            )


def _refuse_others(state: State, where: str) -> None:
    if "label_emb.weight" in state:
        raise InputError(
            f"{where} has class conditioning (label_emb.weight, {len(state['label_emb.weight'])} "
            "classes); a prior must be unconditional"
        )
    if any(key.startswith(("down_blocks.", "conv_in.")) for key in state):
        raise InputError(
            f"{where} holds a diffusers network; give the folder with its config.json instead"
        )
    if "time_embed.0.weight" not in state:
        first = next(iter(state), "nothing")
        raise InputError(
            f"{where} holds no guided-diffusion network: none of its {len(state)} tensors is "
            f"time_embed.0.weight, and the first is {first}"
        )
    if not any(key.startswith("output_blocks.") for key in state):
        raise InputError(f"{where} has no output_blocks: it is a classifier, not a prior")


def _from_shapes(state: State, settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The settings that the shapes in a state dict imply."""
    width = _shape(state, "time_embed.0.weight", 2, where)[1]
    taken, answered = _channels(state, settings, where)
    pixels = settings.get("patch", 1) ** 2
    levels = _levels(state, where)
    mults, attention = [], []
    for level in range(levels.number):
        first = f"input_blocks.{1 + level * levels.blocks}"
        channels = _shape(state, f"{first}.0.in_layers.2.weight", 4, where)[0]
        mults.append(_ratio(channels, width))
        if f"{first}.1.qkv.weight" in state:
            attention.append(2**level)
    embedded = _shape(state, "input_blocks.1.0.emb_layers.1.weight", 2, where)[0]
    return {
        "in_channels": taken // pixels,
        "out_channels": answered // pixels,
        "model_channels": width,
        "channel_mult": tuple(mults),
        "num_res_blocks": levels.blocks - 1,
        "attention": tuple(attention),
        "use_scale_shift_norm": embedded == 2 * int(mults[0] * width),
        "resblock_updown": levels.by_block,
        "conv_resample": not levels.by_mean,
        "mid_attention": "middle_block.1.qkv.weight" in state,
    }


def _own_from_shapes(state: State, where: str) -> dict[str, Any]:
    """The settings of a ResidualUNet, all of which the shapes in its state dict imply."""
    stem, channels = _shape(state, "stem.weight", 4, where)[:2]
    if channels not in (1, 3):
        raise InputError(f"{where} takes {channels} channels where a prior has 1 or 3")
    blocks = [re.fullmatch(r"encoder\.(\d{1,2})\.(\d{1,2})\.first\.weight", key) for key in state]
    found = {(int(block[1]), int(block[2])) for block in blocks if block}
    levels = range(1 + max((level for level, _ in found), default=-1))
    if not 0 < len(levels) <= DEEPEST:
        raise InputError(f"{where} is not a network of 1 to {DEEPEST} levels, but of {len(levels)}")
    return {
        "in_channels": channels,
        "stem": stem,
        "widths": tuple(_shape(state, f"encoder.{k}.0.first.weight", 4, where)[0] for k in levels),
        "depths": tuple(sum(level == k for level, _ in found) for k in levels),
        "embed": _shape(state, "time_embed.0.weight", 2, where)[0],
    }


def _refuse_settings_of_unet(
    shape: Mapping[str, Any], settings: Mapping[str, Any], where: str
) -> None:
    others = [key for key in settings if key in NETWORK and key not in shape]
    if others:
        raise InputError(f"{where} holds a ResidualUNet, which has no setting {others[0]}")


class _Levels(NamedTuple):
    """The levels of a network."""

    number: int
    blocks: int  # in the decoder, on each level
    by_block: bool  # whether residual blocks enlarge, rather than layers of their own
    by_mean: bool  # whether the encoder averages pixels, rather than by strided convolutions


def _levels(state: State, where: str) -> _Levels:
    """The levels, counted by the blocks that enlarge from one to the next."""

    def numbers(pattern: str) -> set[int]:
        """The numbers of the blocks that have a key matching the pattern."""
        found = (re.fullmatch(pattern, key) for key in state)
        return {int(match[1]) for match in found if match}

    down = numbers(r"input_blocks\.(\d{1,6})\..*")
    up = numbers(r"output_blocks\.(\d{1,6})\.0\..*")
    by_block = numbers(r"output_blocks\.(\d{1,6})\.[12]\.in_layers\.0\.weight")
    by_convolution = numbers(r"output_blocks\.(\d{1,6})\.[12]\.conv\.weight")
    if up != set(range(len(up))) or max(down) + 1 != len(up):
        raise InputError(f"{where} is not complete: some input_blocks or output_blocks are missing")
    by_mean = up - down  # blocks that average four pixels have no weights
    count = 1 + len(by_block or by_convolution or by_mean)
    if len(up) % count or len(up) < 2 * count:
        raise InputError(f"{where} is not complete: {len(up)} output_blocks for {count} levels")
    return _Levels(count, len(up) // count, bool(by_block), bool(by_mean))


def _channels(state: State, settings: Mapping[str, Any], where: str) -> tuple[int, int]:
    """How many channels the network takes and returns, counting all pixels of a patch."""
    pixels = settings.get("patch", 1) ** 2
    taken = _shape(state, "input_blocks.0.0.weight", 4, where)[1]
    answered = _shape(state, "out.2.weight", 4, where)[0]
    if taken not in (pixels, 3 * pixels):
        raise InputError(
            f"{where} takes {taken} channels where a prior has 1 or 3"
            + (f" in patches of {settings['patch']}" if pixels > 1 else "; or give its patch size")
        )
    if answered not in (taken, 2 * taken):
        raise InputError(f"{where} takes {taken} channels and returns {answered}: not a denoiser")
    return taken, answered


def _shape(state: State, key: str, ndim: int, where: str) -> torch.Size:
    if key not in state:
        raise InputError(f"{where} is not complete: it lacks {key}")
    if state[key].ndim != ndim or not state[key].numel():
        raise InputError(f"{where} is damaged: {key} has the shape {tuple(state[key].shape)}")
    return state[key].shape


def _ratio(channels: int, width: int) -> float:
    """The multiplier for which int(multiplier * width) == channels; an integer if possible."""
    if channels % width == 0:
        return channels // width
    mult = channels / width
    while int(mult * width) < channels:
        mult = math.nextafter(mult, math.inf)
    return mult
