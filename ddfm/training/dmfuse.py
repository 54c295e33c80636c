"""Train the head of DMFuse on registered pairs; the prior is not changed.

Features and targets are computed once, and kept for later runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ddfm.arguments import a_seed, one_of, positive
from ddfm.dmfuse.features import NOISES, check_timesteps, shape_of_features
from ddfm.dmfuse.network import Head, HeadConfig
from ddfm.dmfuse.weights import About, check_prior, load_head, save_head
from ddfm.errors import InputError
from ddfm.imaging.pairing import Pair
from ddfm.imaging.writing import write_drawing
from ddfm.numerics.device import fast_dtype
from ddfm.priors.prior import Prior
from ddfm.storage.ours import protecting
from ddfm.storage.outputs import check_apart
from ddfm.training.crops import Crops, FeatureCache, choose_crops, targets_of
from ddfm.training.dmfuse_loss import LOSSES, loss
from ddfm.training.run import TrainingRun, prepare, what_is_read

__all__ = ["Settings", "train_dmfuse"]

Images = tuple[Tensor, Tensor, Tensor]  # infrared, visible, and the target
WEIGHTS = "dmfuse.safetensors"
ASIDE = 16  # one pair in 16 is kept aside, for the learning curve and the sheets
SHOWN = 6  # number of crops on a sheet


@dataclass(frozen=True)
class Settings:
    """How to train. The defaults are those of the shipped head."""

    loss: str = "distilled"
    t: tuple[int, ...] = (5,)
    noise: str = "fixed"
    attention: bool = True
    plain: bool = False
    output: str = "blend"
    steps: int = 3600
    batch: int = 3
    crops: int = 640
    size: int = 160
    lr: float = 1e-3
    warmup: int = 50
    seed: int = 0
    report_every: int = 250
    sample_every: int = 500
    save_every: int = 100

    def __post_init__(self) -> None:
        one_of("loss", self.loss, LOSSES)
        one_of("noise", self.noise, NOISES)
        a_seed(self.seed)
        positive("lr", self.lr)
        if self.size < 32:
            raise InputError(f"size (--size) must be at least 32 pixels, not {self.size}")


def train_dmfuse(
    pairs: Sequence[Pair],
    out: str | Path,
    prior: Prior,
    settings: Settings,
    *,
    init: str | Path | None = None,
    cache: str | Path | None = None,
    device: str | torch.device = "cpu",
    progress: bool | None = None,
) -> Path:
    """Trains, or continues training, and returns the path of the weights `out/dmfuse.safetensors`.

    Args:
        pairs: registered pairs of infrared and visible images.
        out: the folder of the run.
        prior: the prior whose features the head reads.
        settings: how to train.
        init: the weights of another head to start from; None starts from random weights.
        cache: the folder where features are kept; None is `out/features`.
        device: where to compute.
        progress: whether to show progress bars; None shows them on a terminal.
    """
    out = Path(out)
    prior = prior.to(torch.device(device))
    s = replace(settings, t=check_timesteps(prior, settings.t))
    files = [path for pair in pairs for path in pair.files]
    check_apart(out, *sorted({path.parent for path in files}))
    with protecting(*files, init):
        prepare(out, s, WEIGHTS)
        read = what_is_read(files, init)
        run = HeadRun(s, out, prior, _network(s, prior), torch.device(device), **read)
        continues = run.resume()  # before features, which take long, replace those of another run
        if init is not None and not continues:
            run.start_from(Path(init))
        pictures = partial(_data, run, prior, Path(cache or out / "features"), progress)
        train, run.aside = (pictures(name, some) for name, some in _split(pairs).items())
        if init is None and not continues:
            run.normalise(train)
        run.train(train, progress)
    return out / WEIGHTS


def _network(s: Settings, prior: Prior) -> HeadConfig:
    channels, patch = shape_of_features(prior)
    if not s.plain:
        channels = tuple(n * len(s.t) for n in channels)
    return HeadConfig(channels, patch, attention=s.attention, plain=s.plain, output=s.output)


def _split(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Most pairs are for training, the others kept aside; a single pair serves both."""
    aside = list(pairs[::ASIDE])
    return {"train": [pair for pair in pairs if pair not in aside] or aside, "aside": aside}


def _data(
    run: HeadRun, prior: Prior, cache: Path, progress: bool | None, name: str, pairs: Sequence[Pair]
) -> Data:
    s = run.settings
    count = s.crops if name == "train" else max(SHOWN, s.crops // ASIDE)
    size = -(-s.size // prior.multiple) * prior.multiple
    crops = choose_crops(pairs, count, size, s.seed, progress)
    targets = targets_of(cache / name, crops, s.loss, progress)
    features = FeatureCache(cache / name, prior, crops, s.noise, s.seed, progress)
    return Data(crops, targets, features, run)


class Data:
    """Crops with their targets and features, in batches for a run."""

    def __init__(
        self, crops: Crops, targets: np.ndarray, features: FeatureCache, run: HeadRun
    ) -> None:
        self.crops, self.targets, self.features = crops, targets, features
        self.timesteps = () if run.settings.plain else run.settings.t
        self.device = run.device

    def at(self, index: Sequence[int]) -> tuple[Images, tuple[list[Tensor], ...]]:
        """(i, v, u) in [0, 1], and the features of i and of v."""
        target = torch.from_numpy(self.targets[index]).float()
        i, v, u = (x.to(self.device) for x in (*self.crops.at(index), target))
        images = i, v, u
        if not self.timesteps:
            return images, ([], [])
        features = self.features.batch(index, self.timesteps)
        return images, tuple([f.to(self.device) for f in of] for of in features)


class HeadRun(TrainingRun):
    """A training run of a head, with its optimiser."""

    colors: ClassVar[dict[str, str]] = {"aside": "#2166ac", "loss": "#666666"}
    aside: Data  # pairs that are not trained on

    def __init__(
        self,
        settings: Settings,
        out: Path,
        prior: Prior,
        config: HeadConfig,
        device: torch.device,
        **also: str | None,
    ) -> None:
        super().__init__(settings, out, device, prior=prior.fingerprint, **also)
        self.prior = prior
        self.head = Head(config).to(device)
        self.dtype = fast_dtype(device)
        self.optimizer = torch.optim.AdamW(self.head.parameters(), settings.lr, weight_decay=1e-4)

    def parts(self) -> dict[str, Any]:
        return {"head": self.head, "optimizer": self.optimizer}

    def normalise(self, data: Data) -> None:
        """Measures the scale of the features for the head, once, before the first step."""
        if data.timesteps:
            some = (
                np.linspace(0, len(data.crops) - 1, min(64, len(data.crops))).astype(int).tolist()
            )
            _, (of_i, of_v) = data.at(some)
            self.head.normalise([torch.cat(f) for f in zip(of_i, of_v, strict=True)])

    def start_from(self, path: Path) -> None:
        """Takes the weights of a head that reads the same features and has the same design."""
        s = self.settings
        head, about = load_head(path)
        check_prior(self.prior, about)
        if (about.network, about.t, about.noise) != (self.head.config, s.t, s.noise):
            raise InputError(
                f"cannot start from the head {path}: its t, noise, attention, plain and output "
                "must be those of this run"
            )
        self.head.load_state_dict(head.state_dict())

    def train_step(self, data: Data) -> float:
        with self.timed():
            s = self.settings
            rng = np.random.default_rng([s.seed, 1, self.step])
            some = rng.choice(len(data.crops), min(s.batch, len(data.crops)))
            images, features = data.at(some.tolist())
            value = self._loss(images, features)
            self.optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(self.head.parameters(), 5.0)
            for group in self.optimizer.param_groups:
                group["lr"] = s.lr * self.rate()
            self.optimizer.step()
        return float(value.detach())

    def _loss(self, images: Images, features: tuple[list[Tensor], ...]) -> Tensor:
        return loss(self._fused(images, features), *images, self.settings.loss)

    def _fused(self, images: Images, features: tuple[list[Tensor], ...]) -> Tensor:
        i, v, _ = images
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            fused = self.head(2 * i - 1, 2 * v - 1, *features)
        return (fused.float() + 1) / 2

    @torch.no_grad()
    def measured(self) -> dict[str, float]:
        """The mean loss on crops that are not trained on."""
        data = self.aside
        values = [
            float(self._loss(*data.at(range(first, min(first + 8, len(data.crops))))))
            for first in range(0, len(data.crops), 8)
        ]
        return {"aside": round(float(np.mean(values)), 4)}

    def trained(self) -> nn.Module:
        return self.head

    def write_weights(self) -> None:
        s, prior = self.settings, self.prior
        about = About(self.head.config, s.t, s.noise, prior.name, prior.fingerprint, s.loss)
        save_head(self.out / WEIGHTS, self.head, about)

    @torch.no_grad()
    def draw(self, path: Path) -> None:
        """Draws infrared, visible, target and result below each other, with one column per crop."""
        data = self.aside
        index = np.linspace(0, len(data.crops) - 1, SHOWN).astype(int).tolist()
        images, features = data.at(index)
        shown = [*images, self._fused(images, features)]
        rows = [torch.cat(list(x[:, 0]), dim=1) for x in shown]
        pixels = (torch.cat(rows).clamp(0, 1) * 255).round().byte().cpu().numpy()
        write_drawing(path, Image.fromarray(pixels))
