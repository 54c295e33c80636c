r"""Train an unconditional prior on a folder of photographs.

The network predicts v = alpha_t eps - sigma_t x_0 from x_t = alpha_t x_0 + sigma_t eps. At first
it minimises |v - v_net|^2, which learns fastest; later it minimises the same divided by its usual
value at the noise level (ddfm/training/noise_levels.py). In terms of x_0, |v - v_net|^2 is
|x_0 - x_0,net|^2 / sigma_t^2: unlike the error of eps, it also counts where almost everything is
noise, which is where the layout of an image is decided.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ddfm.arguments import a_seed, one_of, positive
from ddfm.errors import InputError
from ddfm.priors.checkpoints import check_finite, read_settings, read_state_dict
from ddfm.priors.denoise import denoise
from ddfm.priors.prior import KINDS, FunctionPrior
from ddfm.priors.residual_unet import ResidualUNet, ResidualUNetConfig
from ddfm.priors.schedule import alpha_sigma, alphas_bar
from ddfm.priors.unet import UNet, UNetConfig
from ddfm.storage.files import write_weights
from ddfm.storage.ours import protecting
from ddfm.storage.outputs import check_apart
from ddfm.training.drawing import sample_sheet
from ddfm.training.muon import Muon
from ddfm.training.noise_levels import NoiseLevels
from ddfm.training.patterns import with_pattern
from ddfm.training.photographs import Photographs, find_photographs
from ddfm.training.run import TrainingRun, prepare, what_is_read
from ddfm.training.yardstick import SIGMAS, denoising_psnr, middle_crops

__all__ = ["SHIPPED", "Settings", "network_of", "train_prior"]

WEIGHTS = "prior.safetensors"
LARGE = 3.0  # an error of v, whose variance is about 1; no crop counts as more

SHIPPED = ResidualUNetConfig()  # the design of the shipped prior


@dataclass(frozen=True)
class Settings:
    """How to train. The defaults are those of the shipped prior."""

    steps: int = 8000
    batch: int = 16  # crops of the smallest size; batches of larger crops have as many pixels
    crops: tuple[int, ...] = (64, 96, 64, 128)  # sizes in pixels, used in turn, one per step
    kind: str = "v"
    low_noise: float = 0.7  # share of timesteps with noise as in images (noise_levels.LOW)
    patterns: float = 0.6  # share of the batches in which one crop has a regular pattern
    balance: float = 0.5  # share of the steps after which all noise levels count equally
    optimizer: str = "muon"
    lr: float = 0.015  # of Muon
    adam_lr: float = 1e-3  # of AdamW
    warmup: int = 100
    ema: float = 0.999
    seed: int = 0
    bf16: bool = False
    report_every: int = 500
    sample_every: int = 4000
    save_every: int = 100
    network: ResidualUNetConfig | UNetConfig = field(default_factory=lambda: SHIPPED)

    def __post_init__(self) -> None:
        one_of("kind", self.kind, KINDS)
        one_of("optimizer", self.optimizer, ("muon", "adamw"))
        a_seed(self.seed)
        positive("lr", self.lr)
        positive("adam_lr", self.adam_lr)
        if not 0 <= self.balance <= 1:  # also refuses NaN
            raise InputError(f"balance must be from 0 to 1, not {self.balance}")


def train_prior(
    folder: str | Path,
    out: str | Path,
    settings: Settings,
    *,
    validation: str | Path | None = None,
    init: str | Path | None = None,
    device: str = "cpu",
    progress: bool | None = None,
) -> Path:
    """Trains, or continues training; returns the path of the weights `out/prior.safetensors`."""
    out = Path(out)
    photographs = find_photographs(folder)
    aside = find_photographs(validation) if validation else []
    check_apart(out, folder, *([validation] if validation else []), deep=True)
    with protecting(*photographs, *aside, init), _processes(device) as (rank, ranks, device):
        first = rank == 0
        progress = progress if first else False
        if first:
            prepare(out, settings, WEIGHTS)
        crops = Photographs(photographs, max(settings.crops), progress)
        read = what_is_read(photographs, init)
        run = PriorRun(settings, out, torch.device(device), rank, ranks, **read)
        if not run.resume():
            run.start_from(init)
        if validation and first:
            run.aside = [crop.to(device) for crop in middle_crops(validation, channels=1)]
        run.progress = progress
        run.train(crops, progress, reports=first)
    return out / WEIGHTS


class PriorRun(TrainingRun):
    """A training run of a network, with its moving average and its optimisers."""

    colors: ClassVar[dict[str, str]] = {
        "psnr_15": "#1b7837",
        "psnr_25": "#2166ac",
        "psnr_50": "#b2182b",
        "loss": "#666666",
    }

    def __init__(
        self,
        settings: Settings,
        out: Path,
        device: torch.device,
        rank: int = 0,
        ranks: int = 1,
        **also: str | None,
    ) -> None:
        super().__init__(settings, out, device, **also)
        self.rank, self.ranks = rank, ranks
        self.net = network_of(settings.network).to(device)
        self.average = network_of(settings.network).to(device).requires_grad_(False)
        self.average.load_state_dict(self.net.state_dict())
        self.parallel = nn.parallel.DistributedDataParallel(self.net) if ranks > 1 else self.net
        self.optimizers = _optimizers(self.net, settings)
        self.alphas_bar = alphas_bar("linear")
        self.levels = NoiseLevels(self.alphas_bar, settings.low_noise)
        self.aside: list[Tensor] = []  # photographs kept aside, to measure denoising on
        self.progress: bool | None = False  # whether drawing samples shows a progress bar

    def parts(self) -> dict[str, Any]:
        optimizers = {f"optimizer {k}": part for k, part in enumerate(self.optimizers)}
        return {"net": self.net, "average": self.average, "levels": self.levels} | optimizers

    def start_from(self, init: str | Path | None) -> None:
        """Takes the weights in a file, if one is given."""
        if not init:
            return
        weights, own = read_state_dict(init), self.net.state_dict()
        if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in own.items()}:
            raise InputError(f"cannot start from the weights {init}: they are of another network")
        check_finite(weights, str(init))
        kind = read_settings(Path(init)).get("kind", self.settings.kind)
        if kind != self.settings.kind:
            raise InputError(
                f"cannot start from the weights {init}: they predict {kind}, and this run "
                f"{self.settings.kind}; choose --kind {kind}"
            )
        self.net.load_state_dict(weights)
        self.average.load_state_dict(weights)

    @property
    def prior(self) -> FunctionPrior:
        """The averaged network as a prior."""
        s = self.settings
        return FunctionPrior(
            self.average,
            self.alphas_bar,
            kind=s.kind,
            channels=s.network.in_channels,
            multiple=s.network.multiple,
            name="in training",
        )

    def train_step(self, data: Photographs) -> float:
        with self.timed():
            errors = self._errors(data)
            nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * self.rate()
                optimizer.step()
                optimizer.zero_grad()
            self._average()
        return float(errors.mean())

    def _errors(self, data: Photographs) -> Tensor:
        """The error of each crop of this step; adds the gradients of their weighted mean."""
        s = self.settings
        size = s.crops[self.step % len(s.crops)]
        count = max(1, s.batch * min(s.crops) ** 2 // size**2 // self.ranks)
        seed = (s.seed, self.step, self.rank)
        x0 = data.batch(count, size, seed)
        rng = np.random.default_rng([*seed, 2])
        if rng.random() < s.patterns:
            x0[0] = with_pattern(rng, x0[0])
        x0 = x0.to(self.device)
        rng = np.random.default_rng([*seed, 1])
        t = self.levels.draw(rng, count).to(self.device)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(x0.shape, generator=generator).to(self.device)
        alpha, sigma = alpha_sigma(self.alphas_bar, t, x0)
        target = {"eps": noise, "x0": x0, "v": alpha * noise - sigma * x0}[s.kind]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=s.bf16):
            prediction = self.parallel(
                (alpha * x0 + sigma * noise).to(memory_format=torch.channels_last), t
            )
        errors = (prediction.float() - target).square().mean(dim=(1, 2, 3))
        weights = self.levels.weights(t, errors.clamp(max=LARGE))
        if self.step < s.balance * s.steps:
            weights = torch.ones_like(errors)
        weights = weights * (LARGE / errors.detach()).clamp(max=1)
        (errors * weights).mean().backward()
        return errors.detach()

    def _average(self) -> None:
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        mine, new = ([p.detach() for p in net.parameters()] for net in (self.average, self.net))
        torch._foreach_lerp_(mine, new, 1 - decay)

    def measured(self) -> dict[str, float]:
        """The PSNR of denoised photographs in dB, by noise level."""
        method = partial(denoise, self.prior)
        return {
            f"psnr_{sigma}": round(denoising_psnr(method, self.aside, sigma), 3)
            for sigma in (SIGMAS if self.aside else ())
        }

    def draw(self, path: Path) -> None:
        sample_sheet(self.prior, path, self.device, self.progress)

    def trained(self) -> nn.Module:
        return self.average

    def write_weights(self) -> None:
        """Writes the averaged network in half precision, with all that `load_prior` needs."""
        s = self.settings
        about = {
            "network": asdict(s.network),
            "kind": s.kind,
            "schedule": "linear",
            "timesteps": len(self.alphas_bar),
        }
        weights = {k: v.half().contiguous().cpu() for k, v in self.average.state_dict().items()}
        write_weights(self.out / WEIGHTS, weights, {"ddfm": json.dumps(about)})


def network_of(config: ResidualUNetConfig | UNetConfig) -> UNet | ResidualUNet:
    """A network in memory format channels last, faster for convolutions on CPU and GPU."""
    net = UNet(config) if isinstance(config, UNetConfig) else ResidualUNet(config)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in stubs


def _optimizers(net: UNet | ResidualUNet, s: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the inner convolutions, AdamW for the rest; or AdamW for all."""
    outermost = (net.input_blocks[0], net.out) if isinstance(net, UNet) else (net.stem, net.last)
    outer = {id(p) for module in outermost for p in module.parameters()}
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for p in net.parameters():
        inner = s.optimizer == "muon" and p.ndim > 2 and id(p) not in outer
        (matrices if inner else others).append(p)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=s.adam_lr, betas=(0.9, 0.99), weight_decay=0.0)
    ]
    if matrices:
        optimizers.append(Muon(matrices, lr=s.lr))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


@contextmanager
def _processes(device: str) -> Iterator[tuple[int, int, str]]:
    """(rank, number of processes, device) of this process, alone or started by torchrun."""
    ranks = int(os.environ.get("WORLD_SIZE", 1))
    if ranks == 1:
        yield 0, 1, device
        return
    rank = int(os.environ["RANK"])
    if device.startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield rank, ranks, device
    finally:
        torch.distributed.destroy_process_group()
