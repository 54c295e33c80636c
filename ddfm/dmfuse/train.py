"""Train the head of DMFuse on registered pairs; the prior stays as it is.

Which crops a step takes follows from its number, so a run that was killed goes on from its last
checkpoint as if nothing had happened; the features are found where they were kept.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from ddfm.atomic import atomic_path
from ddfm.dmfuse.data import Crops, FeatureCache, choose_crops
from ddfm.dmfuse.features import NOISES, check_timesteps, shape_of_features
from ddfm.dmfuse.loss import LOSSES, loss
from ddfm.dmfuse.network import Head, HeadConfig
from ddfm.dmfuse.weights import About, save_head
from ddfm.errors import DdfmError, unknown
from ddfm.pairing import Pair
from ddfm.priors.prior import Prior
from ddfm.training.pictures import draw_curve

__all__ = ["PUBLISHED_TIMESTEPS", "Settings", "train_dmfuse"]

PUBLISHED_TIMESTEPS = (5, 50, 100)
ASIDE = 16  # of so many pairs one is kept aside, for the curve and the sheets
SHOWN = 6  # crops on a sheet
COLORS = {"aside": "#2166ac", "loss": "#666666"}
# How far levels may be spread afterwards. The published method has nothing of the kind.
GAINS = {"salient": (1.0, 1.15), "published": (1.0, 1.0)}
REPORTING = ("report_every", "sample_every", "save_every")


@dataclass(frozen=True)
class Settings:
    """How to train. The defaults are those of the shipped head."""

    loss: str = "salient"
    t: tuple[int, ...] = (5,)
    noise: str = "fixed"
    attention: bool = True
    plain: bool = False
    output: str = "blend"
    steps: int = 800
    batch: int = 4
    crops: int = 640
    size: int = 128
    lr: float = 1e-3
    warmup: int = 50
    seed: int = 0
    report_every: int = 100
    sample_every: int = 350
    save_every: int = 100

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise unknown("loss", self.loss, LOSSES)
        if self.noise not in NOISES:
            raise unknown("noise", self.noise, NOISES)
        if self.size < 32:
            raise DdfmError(f"crops have at least 32 pixels to a side, not {self.size}")


def train_dmfuse(
    pairs: Sequence[Pair],
    out: str | Path,
    prior: Prior,
    settings: Settings | None = None,
    *,
    cache: str | Path | None = None,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> Path:
    """Trains, or goes on training, and returns the path of the weights `out/dmfuse.safetensors`.

    Args:
        pairs: infrared and visible, registered.
        prior: whose features the head is to read.
        cache: where the features are kept; None is `out/features`.
    """
    s = settings or Settings()
    torch.set_flush_denormal(True)  # gradients near 1e-40 count for nothing and cost time
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    prior = prior.to(torch.device(device))
    s = replace(s, t=check_timesteps(prior, s.t))
    run = Run(s, out, prior, _network(s, prior), torch.device(device))
    pictures = partial(_data, run, prior, Path(cache or out / "features"), progress)
    train, aside = (pictures(name, some) for name, some in _split(pairs).items())
    run.resume_or_start(train)
    bar = tqdm(total=s.steps, initial=run.step, desc="training", disable=not progress)
    while run.step < s.steps:
        value = run.train_step(train)
        bar.update()
        bar.set_postfix(loss=f"{value:.3f}", refresh=False)
        run.report(aside)
    bar.close()
    run.save()
    about = About(
        run.head.config, s.t, s.noise, prior.name, prior.fingerprint, s.loss, GAINS[s.loss]
    )
    save_head(out / "dmfuse.safetensors", run.head, about)
    return out / "dmfuse.safetensors"


def _network(s: Settings, prior: Prior) -> HeadConfig:
    channels, patch = shape_of_features(prior)
    if not s.plain:
        channels = tuple(n * len(s.t) for n in channels)
    return HeadConfig(channels, patch, attention=s.attention, plain=s.plain, output=s.output)


def _split(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Most are trained on, the others kept aside; of few, all are used for both."""
    aside = list(pairs[::ASIDE])
    return {"train": [pair for pair in pairs if pair not in aside] or aside, "aside": aside}


def _data(
    run: Run, prior: Prior, cache: Path, progress: bool, name: str, pairs: Sequence[Pair]
) -> Data:
    s = run.settings
    count = s.crops if name == "train" else max(SHOWN, s.crops // ASIDE)
    size = -(-s.size // prior.multiple) * prior.multiple
    crops = choose_crops(pairs, count, size, s.seed, s.loss, progress)
    return Data(crops, FeatureCache(cache / name, prior, crops, s.noise, s.seed, progress), run)


class Data:
    """Crops with their features, as a run wants them."""

    def __init__(self, crops: Crops, cache: FeatureCache, run: Run) -> None:
        self.crops, self.cache = crops, cache
        self.timesteps = () if run.settings.plain else run.settings.t
        self.device = run.device

    def at(self, index: Sequence[int]) -> tuple[list[Tensor], tuple[list[Tensor], ...]]:
        """(i, v, u) in [0, 1], and the features of i and of v."""
        images = [x.to(self.device) for x in self.crops.at(index)]
        if not self.timesteps:
            return images, ([], [])
        features = self.cache.batch(index, self.timesteps)
        return images, tuple([f.to(self.device) for f in of] for of in features)


class Run:
    """The state of a training run: head, optimiser, and what was measured."""

    def __init__(
        self, settings: Settings, out: Path, prior: Prior, config: HeadConfig, device: torch.device
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.out, self.device = settings, out, device
        self.of = {"settings": _design(settings), "prior": prior.fingerprint}
        self.head = Head(config).to(device)
        self.optimizer = torch.optim.AdamW(self.head.parameters(), settings.lr, weight_decay=1e-4)
        self.step = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []
        self.losses: list[float] = []

    def train_step(self, data: Data) -> float:
        began = time.monotonic()
        s = self.settings
        rng = np.random.default_rng([s.seed, 1, self.step])
        images, features = data.at(rng.choice(len(data.crops), min(s.batch, len(data.crops))))
        value = self._loss(images, features)
        self.optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(self.head.parameters(), 5.0)
        warm = min(1.0, (self.step + 1) / s.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / s.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = s.lr * warm * cosine
        self.optimizer.step()
        self.step += 1
        self.losses.append(float(value.detach()))
        self.seconds += time.monotonic() - began
        return self.losses[-1]

    def _loss(self, images: list[Tensor], features: tuple[list[Tensor], ...]) -> Tensor:
        return loss(self._fused(images, features), *images, self.settings.loss)

    def _fused(self, images: list[Tensor], features: tuple[list[Tensor], ...]) -> Tensor:
        i, v, _ = images
        return (self.head(2 * i - 1, 2 * v - 1, *features) + 1) / 2

    def report(self, aside: Data) -> None:
        """Measures, draws and saves when it is time to."""
        s = self.settings
        last = self.step == s.steps
        if self.step % s.report_every == 0 or last:
            entry = {
                "step": self.step,
                "seconds": round(self.seconds),
                "loss": round(float(np.mean(self.losses)), 4),
                "aside": round(self.measure(aside), 4),
            }
            self.losses.clear()
            self.history.append(entry)
            with atomic_path(self.out / "history.json") as path:
                path.write_text(json.dumps(self.history, indent=1))
            draw_curve(self.history, self.out / "curve.png", COLORS)
        if self.step % s.sample_every == 0 or last:
            self.draw_sheet(aside, self.out / f"samples-{self.step:06d}.png")
        if self.step % s.save_every == 0:
            self.save()

    @torch.no_grad()
    def measure(self, data: Data) -> float:
        """The mean loss of crops that are not trained on."""
        values = [
            float(self._loss(*data.at(range(first, min(first + 8, len(data.crops))))))
            for first in range(0, len(data.crops), 8)
        ]
        return float(np.mean(values))

    @torch.no_grad()
    def draw_sheet(self, data: Data, path: Path) -> None:
        """Infrared, visible, the level aimed at and the result, a column a crop."""
        index = np.linspace(0, len(data.crops) - 1, SHOWN).astype(int)
        images, features = data.at(index)
        shown = [*images, self._fused(images, features)]
        rows = [torch.cat(list(x[:, 0]), dim=1) for x in shown]
        pixels = (torch.cat(rows).clamp(0, 1) * 255).round().byte().cpu().numpy()
        with atomic_path(path) as temporary:
            Image.fromarray(pixels).save(temporary)

    def save(self) -> None:
        state = {
            "of": json.dumps(self.of),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "losses": self.losses,
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic_path(self.out / "checkpoint.pt") as path:
            torch.save(state, path)

    def resume_or_start(self, data: Data) -> None:
        path = self.out / "checkpoint.pt"
        if not path.exists():
            if data.timesteps:
                some = np.linspace(0, len(data.crops) - 1, min(64, len(data.crops))).astype(int)
                _, (of_i, of_v) = data.at(some)
                self.head.normalise([torch.cat(f) for f in zip(of_i, of_v, strict=True)])
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if json.loads(state["of"]) != self.of:
            raise DdfmError(f"{path} was made with other settings or another prior; choose "
                            "another --out")  # fmt: skip
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.history, self.losses = state["history"], state["losses"]


def _design(settings: Settings) -> dict[str, Any]:
    """The settings that may not change within a run; how often to report may."""
    kept = {k: v for k, v in asdict(settings).items() if k not in REPORTING}
    return json.loads(json.dumps(kept))
