"""Small files of weights to damage: priors, heads of DMFuse, settings in JSON, diffusers."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from ddfm.dmfuse.network import Head, HeadConfig
from ddfm.dmfuse.weights import About, load_head, save_head
from ddfm.priors import load_prior
from ddfm.priors.checkpoints import save_checkpoint
from ddfm.priors.unet import UNet, UNetConfig
from fuzz_texts import odd_json

__all__ = ["weight_files"]

Made = tuple[str, str, bytes, Callable[[Path], None], Callable[..., bytes] | None]

SETTINGS = {
    "kind": "eps",
    "schedule": "linear",
    "T": 1000,
    "num_heads": 2,
    "num_head_channels": -1,
    "use_new_attention_order": False,
    "norm_groups": 4,
    "rescale_timesteps": False,
}


def weight_files() -> Iterator[Made]:
    """Name, suffix, content, reader, and how its meaning is damaged."""
    state = _network().state_dict()
    for name, options in (("zip", {}), ("legacy", {"_use_new_zipfile_serialization": False})):
        file = BytesIO()
        torch.save({"state_dict": state, "step": 3, "opt": {"lr": 0.1}}, file, **options)
        yield f"prior {name}", ".pt", file.getvalue(), read_bare_prior, None
    yield "prior", ".safetensors", _sound_prior(), read_prior, odd_metadata
    yield "prior settings", ".json", json.dumps(SETTINGS).encode(), read_settings, odd_json
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "head.safetensors"
        config = HeadConfig((4, 6), patch=2, width=4)
        save_head(path, Head(config), About(config, (5,), "fixed", "p", None, "distilled"))
        yield "head", ".safetensors", path.read_bytes(), read_head, odd_metadata
    yield from _diffusers()


@cache
def _network() -> UNet:
    torch.manual_seed(0)
    return UNet(
        UNetConfig(
            in_channels=1,
            out_channels=1,
            model_channels=8,
            channel_mult=(1, 2),
            num_res_blocks=1,
            attention=(2,),
            num_heads=2,
            num_head_channels=-1,
            norm_groups=4,
        )
    )


@cache
def _sound_prior() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.safetensors"
        save_checkpoint(path, _network().state_dict(), SETTINGS)
        return path.read_bytes()


def read_prior(path: Path) -> None:
    prior = load_prior(path)
    assert prior.channels in (1, 3) and len(prior.alphas_bar) >= 1
    assert bool(prior.alphas_bar.isfinite().all())


def read_bare_prior(path: Path) -> None:
    load_prior(path, **SETTINGS)


def read_settings(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        weights = Path(folder) / "w.safetensors"
        weights.write_bytes(_sound_prior())
        shutil.copyfile(path, Path(folder) / "w.safetensors.json")
        read_prior(weights)


def read_head(path: Path) -> None:
    head, about = load_head(path)
    assert about.t and all(bool(w.isfinite().all()) for w in head.parameters())


def odd_metadata(rng: np.random.Generator, data: bytes) -> bytes:
    """A safetensors file with other settings and the same weights."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    told = header["__metadata__"]
    key = next(iter(told))
    told[key] = odd_json(rng, told[key].encode()).decode()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _diffusers() -> Iterator[Made]:
    try:
        import diffusers  # noqa: F401
    except ImportError:
        return
    for name in ("config.json", "scheduler_config.json"):
        data = (_diffusers_folder() / name).read_bytes()
        yield f"diffusers {name}", ".json", data, _DiffusersReader(name), odd_json


@cache
def _diffusers_folder() -> Path:
    import diffusers

    folder = Path(tempfile.mkdtemp())
    unet = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        norm_num_groups=4,
    )
    unet.save_pretrained(folder)
    diffusers.DDPMScheduler().save_config(folder)
    return folder


class _DiffusersReader:
    """Reads a model of diffusers, one of whose files is damaged."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, path: Path) -> None:
        with tempfile.TemporaryDirectory(dir=path.parent) as name:
            folder = Path(name) / "model"
            shutil.copytree(_diffusers_folder(), folder)
            shutil.copyfile(path, folder / self.name)
            read_prior(folder)
