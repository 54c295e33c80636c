"""Makes priors of models from other libraries.

- diffusers: a pipeline, a UNet2DModel with its scheduler, or a model folder on disk.
- guided-diffusion and improved-diffusion: a model with its GaussianDiffusion or SpacedDiffusion.
- Anything else that can be called as eps(x_t, t), x0(x_t, t) or v(x_t, t), with its schedule.

Objects of these libraries are recognised without importing the libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddfm.errors import DdfmError, InputError, missing_extra, one_line, short
from ddfm.priors.checkpoints import check_finite, read_state_dict
from ddfm.priors.layout import build, infer_settings
from ddfm.priors.network import OwnTimes, UNetPrior
from ddfm.priors.prior import FunctionPrior
from ddfm.priors.residual_unet import ResidualUNet
from ddfm.priors.settings import (
    DIFFUSION,
    SCHEDULES,
    alphas_bar_of,
    missing_diffusion,
    network_times,
    normalised,
    refuse_missing,
)
from ddfm.priors.tile_sizes import OVERLAP
from ddfm.priors.unet import UNet
from ddfm.progress import quieter
from ddfm.storage.checksum import sha256_of
from ddfm.storage.inputs import json_object, read_text

__all__ = [
    "from_callable",
    "from_diffusers",
    "from_folder",
    "from_guided_diffusion",
    "is_diffusers",
    "is_gaussian_diffusion",
]

DIFFUSERS_KINDS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
ENCODERS = ("vae", "vqvae", "text_encoder")  # parts of pipelines that do not work on pixels
# The largest value of a setting, and its most values if it is a list (0: it must not be one).
SIZES = {
    "layers_per_block": (64, 0),
    "block_out_channels": (100_000, 16),
    "attention_head_dim": (100_000, 16),
    "norm_num_groups": (100_000, 0),
    "sample_size": (1_000_000, 2),
    "in_channels": (64, 0),
    "out_channels": (64, 0),
    "num_train_timesteps": (1_000_000, 0),
    "trained_betas": (1.0, 1_000_000),
    "beta_start": (1.0, 0),
    "beta_end": (1.0, 0),
}
GUIDED_KINDS = {"EPSILON": "eps", "START_X": "x0"}


def is_diffusers(x: Any) -> bool:
    """Whether `x` is an object of diffusers, which need not be installed."""
    return any(kind.__module__.split(".")[0] == "diffusers" for kind in type(x).__mro__)


def is_gaussian_diffusion(x: Any) -> bool:
    """Whether `x` is the diffusion process of guided-diffusion or of a program derived from it."""
    return hasattr(x, "alphas_cumprod") and hasattr(x, "model_mean_type")


def from_callable(
    function: Callable[[Tensor, Tensor], Tensor],
    scheduler: Any = None,
    *,
    name: str | None = None,
    **config: Any,
) -> FunctionPrior:
    """A prior from any callable (x_t, t).

    Args:
        function: the callable.
        scheduler: a diffusers scheduler, in place of kind, schedule and T.
        name: the prior's name; by default the callable's own.
        config: kind, schedule and T (or betas or alphas_bar), channels, and optionally `multiple`,
            of which height and width must be multiples (default 1). A `UNet` or
            `ResidualUNet` takes no channels or multiple.
    """
    own_name = getattr(function, "__name__", type(function).__name__)
    where = name or own_name
    if scheduler is not None:
        given = next((key for key in (*SCHEDULES, "T") if config.get(key) is not None), None)
        if given is not None:
            raise InputError(
                f"{where} has a scheduler, which defines {given}; leave out one of them"
            )
        alphas_bar, kind = _process_of(scheduler, where, config.pop("kind", None))
        config |= {"alphas_bar": alphas_bar, "kind": kind}
    network = function if isinstance(function, (UNet, ResidualUNet)) else None
    shape = () if network is not None else ("channels", "multiple")
    settings = normalised(config, "the call", only=(*DIFFUSION, *shape))
    own = {key: settings[key] for key in shape if key in settings}
    missing = missing_diffusion(settings) + [key for key in shape[:1] if key not in settings]
    refuse_missing(
        missing, f"the callable {where}", "pass them to ddfm.load_prior, for example {keywords}"
    )
    alphas_bar = alphas_bar_of(settings)
    times = network_times(settings, len(alphas_bar))
    if network is not None:
        return UNetPrior(network, alphas_bar, kind=settings["kind"], times=times, name=name or "")
    timed = function if times is None else OwnTimes(function, times.float())
    prior = FunctionPrior(timed, alphas_bar, kind=settings["kind"], name=where, **own)
    return _in_its_dtype(prior, function)


def from_guided_diffusion(
    model: Any, diffusion: Any, *, name: str | None = None, kind: str | None = None
) -> FunctionPrior:
    """A prior from a model of guided-diffusion or improved-diffusion with its process.

    A UNetModel becomes ddfm's `UNet` with the same weights. The prior's timesteps are those that
    the process visits; if it is respaced, the model is called with the original ones.
    """
    mean_type = getattr(diffusion.model_mean_type, "name", str(diffusion.model_mean_type))
    if mean_type not in GUIDED_KINDS:
        raise InputError(f"a process with model_mean_type {mean_type} predicts neither eps nor x0")
    kind = _agreed(GUIDED_KINDS[mean_type], kind, "the process", "model_mean_type")
    alphas_bar = torch.as_tensor(diffusion.alphas_cumprod, dtype=torch.float64)
    times = _times_of(diffusion, len(alphas_bar))
    name = name or "guided-diffusion"
    if type(model).__name__ == "UNetModel":
        network = _our_unet(model, f"the model {type(model).__name__}")
        return UNetPrior(network, alphas_bar, kind=kind, times=times, name=name)
    if getattr(model, "num_classes", None) is not None:
        raise InputError(f"the model {name} has class conditioning; a prior must be unconditional")
    if (channels := getattr(model, "in_channels", None)) is None:
        raise InputError(f"the model {name} has no attribute in_channels")
    prior = FunctionPrior(
        model if times is None else OwnTimes(model, times),
        alphas_bar,
        kind=kind,
        channels=channels,
        multiple=2 ** (len(getattr(model, "channel_mult", (1,))) - 1),
        name=name,
    )
    return _in_its_dtype(prior, model)


def _agreed(own: str, asked: str | None, whose: str, setting: str) -> str:
    """The kind that a process or scheduler defines; raises if another one was asked for."""
    if asked in (None, own):
        return own
    raise InputError(
        f'by {setting} of {whose}, the network predicts "{own}", not {short(asked)}; leave out '
        f"kind, or change {setting}"
    )


def _in_its_dtype(prior: FunctionPrior, model: Any) -> FunctionPrior:
    """Set the prior's dtype to that of the model's weights."""
    if isinstance(model, nn.Module):
        prior.dtype = next((weight.dtype for weight in model.parameters()), None)
    return prior


def _times_of(diffusion: Any, T: int) -> Tensor | None:
    """The times that the model is called with at each step; None if these are 0 .. T-1.

    They are integers if possible.
    """
    steps = torch.as_tensor(getattr(diffusion, "timestep_map", range(T)), dtype=torch.float64)
    if getattr(diffusion, "rescale_timesteps", False):
        steps = steps * (1000 / getattr(diffusion, "original_num_steps", T))
    if torch.equal(steps, torch.arange(T, dtype=torch.float64)):
        return None
    return steps.long() if torch.equal(steps, steps.round()) else steps.float()


def _our_unet(model: nn.Module, where: str) -> UNet | ResidualUNet:
    settings = {
        "num_heads": model.num_heads,
        "num_head_channels": getattr(model, "num_head_channels", -1),
        "num_heads_upsample": model.num_heads_upsample,
        # improved-diffusion's QKVAttention has the legacy order; it has no attribute n_heads.
        "use_new_attention_order": any(
            type(part).__name__ == "QKVAttention" and hasattr(part, "n_heads")
            for part in model.modules()
        ),
    }
    state = dict(model.state_dict())
    device = next(iter(state.values())).device
    return build(state, infer_settings(state, settings, where), where, device=device)


def from_diffusers(
    x: Any, scheduler: Any = None, *, name: str | None = None, kind: str | None = None
) -> FunctionPrior:
    """A prior from a diffusers pipeline, or from a UNet2DModel with its scheduler."""
    unet = getattr(x, "unet", x)
    scheduler = scheduler if scheduler is not None else getattr(x, "scheduler", None)
    where = name or type(x).__name__
    if any(getattr(x, part, None) is not None for part in ENCODERS):
        raise InputError(f"the pipeline {where} does not work on pixels; a prior must")
    if "UNet2DModel" not in [kind.__name__ for kind in type(unet).__mro__]:
        raise InputError(f"{where} has a {type(unet).__name__}; a prior needs a UNet2DModel")
    if scheduler is None:
        raise InputError(
            f"{where} comes without its noise schedule; pass its scheduler to ddfm.load_prior"
        )
    _refuse_conditioning(unet.config, where)
    alphas_bar, kind = _process_of(scheduler, where, kind)
    prior = FunctionPrior(
        _DiffusersNetwork(unet),
        alphas_bar,
        kind=kind,
        channels=unet.config.in_channels,
        multiple=2 ** (len(unet.config.block_out_channels) - 1),
        name=where,
        info={"parameters": sum(weight.numel() for weight in unet.parameters())},
    )
    prior.tile = _tile_of(unet)
    return _in_its_dtype(prior, unet)


def _tile_of(unet: nn.Module) -> int | None:
    """The side of tiles for a network with attention; None if it has none.

    The cost of attention grows with the square of the number of pixels, and such networks are of
    little use beyond twice the side that they were trained on.
    """
    size: Any = unet.config.sample_size  # type: ignore[union-attr]
    attends = any(type(part).__name__ == "Attention" for part in unet.modules())
    if not attends or not size:
        return None
    return max(2 * OVERLAP, 2 * (size if isinstance(size, int) else max(size)))


def from_folder(
    folder: str | Path, scheduler: Any = None, *, name: str | None = None, kind: str | None = None
) -> FunctionPrior:
    """A prior from the folder of a diffusers model, as `save_pretrained` writes it.

    The U-Net is in unet/ or in the folder itself, the scheduler in scheduler/ or in the folder.
    Nothing is downloaded.
    """
    folder = Path(folder)
    index = _config(folder / "model_index.json") if (folder / "model_index.json").is_file() else {}
    unet = folder / "unet" if (folder / "unet" / "config.json").is_file() else folder
    if not (unet / "config.json").is_file():
        raise InputError(f"{folder} is not a diffusers model: it has neither config.json nor unet/")
    config = _config(unet / "config.json")
    if (network := config.get("_class_name")) != "UNet2DModel":
        raise InputError(f"{folder} holds a {short(network)[1:-1]}; a prior needs a UNet2DModel")
    if any(part in index for part in ENCODERS):
        raise InputError(f"the pipeline in {folder} does not work on pixels; a prior must")
    weights = _weights_in(unet)
    # Read first, since this refuses files that are damaged or could run a program.
    state = read_state_dict(weights)
    check_finite(state, str(weights))
    numbers = sum(tensor.numel() for tensor in state.values())
    try:
        import diffusers
    except ImportError as error:
        raise missing_extra("diffusers", "diffusers", f"the model in {folder}", error) from None
    try:
        with quieter("diffusers"):  # it logs settings that it does not know
            scheduler = scheduler if scheduler is not None else _scheduler_in(folder, diffusers)
            model = _model_in(unet, config, weights, numbers, diffusers)
    except DdfmError:
        raise
    except Exception as error:  # diffusers may raise anything if settings do not fit
        raise InputError(f"cannot load the model in {folder}: {one_line(error)}") from None
    prior = from_diffusers(model.eval(), scheduler, name=name or folder.name, kind=kind)
    prior.info |= {"source": str(folder), "sha256": sha256_of(weights)}
    return prior


def _model_in(
    folder: Path, config: dict[str, Any], weights: Path, numbers: int, diffusers: Any
) -> Any:
    """The network in a folder; raises if its settings ask for more weights than there are."""
    with torch.device("meta"):
        plan = diffusers.UNet2DModel.from_config(config)
    needed = sum(weight.numel() for weight in plan.parameters())
    if needed > numbers:
        raise InputError(
            f"{folder} is for another network: its config.json asks for {needed:,} numbers, "
            f"and there are {numbers:,}"
        )
    return diffusers.UNet2DModel.from_pretrained(
        folder,
        local_files_only=True,
        low_cpu_mem_usage=False,
        use_safetensors=weights.suffix == ".safetensors",
        variant="fp16" if ".fp16." in weights.name else None,
    )


def _weights_in(folder: Path) -> Path:
    """The file of weights: full precision rather than half, then safetensors rather than pickle."""
    for name in ("model.safetensors", "model.bin", "model.fp16.safetensors", "model.fp16.bin"):
        if (file := folder / f"diffusion_pytorch_{name}").is_file():
            return file
    raise InputError(f"{folder} has no weights: no diffusion_pytorch_model.safetensors or .bin")


def _scheduler_in(folder: Path, diffusers: Any) -> Any:
    for place in (folder / "scheduler", folder):
        if (file := place / "scheduler_config.json").is_file():
            config = _config(file)
            name = str(config.get("_class_name"))
            scheduler = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
            if scheduler is None:
                raise InputError(f"{file} names an unknown scheduler, {short(name)}")
            return scheduler.from_config(config)
    raise InputError(
        f"{folder} has no scheduler_config.json; copy that of the training there, or pass the "
        "scheduler to ddfm.load_prior (scheduler=...)"
    )


def _config(file: Path) -> dict[str, Any]:
    """The settings in a JSON file of diffusers; raises if a size in them is absurd."""
    config = json_object(read_text(file), str(file))
    for key, (most, longest) in SIZES.items():
        value = config.get(key)
        numbers: list[Any] = value if isinstance(value, list) else [value]
        fits = all(n is None or (isinstance(n, int | float) and 0 < n <= most) for n in numbers)
        if not fits or (numbers is value and not 1 <= len(numbers) <= longest):
            raise InputError(f"{key} of {file} is invalid: {short(value)}")
    return config


def _process_of(scheduler: Any, where: str, kind: str | None) -> tuple[Tensor, str]:
    """The noise schedule of a scheduler, and its kind; `kind` is the one asked for."""
    alphas_bar = getattr(scheduler, "alphas_cumprod", None)
    if alphas_bar is None:
        raise InputError(
            f"the scheduler {type(scheduler).__name__} of {where} has no discrete timesteps; "
            "use a DDPMScheduler or DDIMScheduler"
        )
    prediction = scheduler.config.get("prediction_type", "epsilon")
    if not isinstance(prediction, str) or prediction not in DIFFUSERS_KINDS:
        raise InputError(
            f"the scheduler of {where} predicts {short(prediction)}, which no prior can use"
        )
    own = DIFFUSERS_KINDS[prediction]
    kind = _agreed(own, kind, f"the scheduler of {where}", "prediction_type")
    return torch.as_tensor(alphas_bar).double().cpu(), kind


def _refuse_conditioning(config: Any, where: str) -> None:
    conditioned = config.get("class_embed_type") or config.get("num_class_embeds")
    if conditioned:
        raise InputError(f"{where} has class conditioning; a prior must be unconditional")
    if config.in_channels not in (1, 3):
        raise InputError(f"{where} takes {config.in_channels} channels; a prior has 1 or 3")


class _DiffusersNetwork(nn.Module):
    """A UNet2DModel that returns a plain tensor."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.unet(x, t, return_dict=False)[0]
