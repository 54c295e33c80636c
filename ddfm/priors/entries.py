"""The catalogue of named priors, with source, licence and checksum."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddfm.errors import unknown

__all__ = ["ADM", "ENTRIES", "Entry", "File", "find", "known", "of_file"]

# Settings of OpenAI's unconditional networks for guided-diffusion that their weights do not imply.
ADM: dict[str, Any] = {
    "kind": "eps",
    "schedule": "linear",
    "T": 1000,
    "num_head_channels": 64,
    "use_new_attention_order": False,
}


@dataclass(frozen=True)
class File:
    """A file of an entry. `sha256` and `size` are None if they are not published."""

    name: str
    url: str
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Entry:
    """A named prior. One without files is part of ddfm."""

    name: str
    description: str
    channels: int
    licence: str
    source: str = ""
    files: tuple[File, ...] = ()
    folder: bool = False  # whether it is the folder of a diffusers model, not a single file
    parameters: int | None = None
    config: dict[str, Any] = field(default_factory=dict)  # settings that the weights do not imply
    aliases: tuple[str, ...] = ()


IMPROVED: dict[str, Any] = {
    "kind": "eps",
    "num_head_channels": -1,
    "use_new_attention_order": False,
}
IMPROVED_4000 = IMPROVED | {"schedule": "cosine", "T": 4000, "rescale_timesteps": True}
GUIDED_DIFFUSION = "https://github.com/openai/guided-diffusion"
IMPROVED_DIFFUSION = "https://github.com/openai/improved-diffusion"
OPENAI = "https://openaipublic.blob.core.windows.net/diffusion"


def _openai(
    name: str,
    file: str,
    description: str,
    *,
    url: str | None = None,
    source: str = GUIDED_DIFFUSION,
    parameters: int = 552_814_086,
    config: dict[str, Any] = ADM,
    **weights: Any,
) -> Entry:
    """An entry with one file of guided-diffusion (jul-2021) or improved-diffusion (march-2021)."""
    return Entry(
        name=name,
        description=description,
        channels=3,
        licence="MIT",
        source=source,
        files=(File(Path(file).name, url or f"{OPENAI}/{file}", **weights),),
        parameters=parameters,
        config=config,
        aliases=(Path(file).stem,),
    )


def _diffusers(name: str, description: str, parameters: int = 113_673_219, **weights: Any) -> Entry:
    """An entry for a model on the Hugging Face Hub whose files are all in one folder."""
    base = f"https://huggingface.co/google/{name}/resolve/main"
    return Entry(
        name=name,
        description=description,
        channels=3,
        licence="Apache-2.0",
        source=f"https://huggingface.co/google/{name}",
        files=(
            File("config.json", f"{base}/config.json"),
            File("scheduler_config.json", f"{base}/scheduler_config.json"),
            File("diffusion_pytorch_model.bin", f"{base}/diffusion_pytorch_model.bin", **weights),
        ),
        folder=True,
        parameters=parameters,
        aliases=(f"google/{name}",),
    )


_ALL = [
    Entry(
        "default",
        "The prior that comes with ddfm: small, for luminance, trained on free photographs",
        channels=1,
        licence="MIT",
    ),
    Entry(
        "gaussian",
        "The exact denoiser of a Gaussian field with a 1/f^2 spectrum: no weights, instant",
        channels=1,
        licence="MIT",
    ),
    _openai(
        "openai-256",
        "jul-2021/256x256_diffusion_uncond.pt",
        "ImageNet 256 x 256, unconditional (ADM): the prior of the DDFM paper",
        sha256="a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1",
        size=2_211_383_297,
    ),
    _openai(
        "openai-512",
        "512x512_diffusion_uncond_finetune_008100.pt",
        "ImageNet 512 x 512, made unconditional by fine-tuning OpenAI's class-conditional ADM",
        sha256="9c111ab89e214862b76e1fa6a1b3f1d329b1a88281885943d2cdbe357ad57648",
        url="https://huggingface.co/lowlevelware/512x512_diffusion_unconditional_ImageNet/"
        "resolve/main/512x512_diffusion_uncond_finetune_008100.pt",
        source="https://huggingface.co/lowlevelware/512x512_diffusion_unconditional_ImageNet",
        parameters=557_973_638,
    ),
    _openai("openai-lsun-bedroom", "jul-2021/lsun_bedroom.pt", "LSUN bedrooms 256 x 256 (ADM)"),
    _openai("openai-lsun-cat", "jul-2021/lsun_cat.pt", "LSUN cats 256 x 256 (ADM)"),
    _openai("openai-lsun-horse", "jul-2021/lsun_horse.pt", "LSUN horses 256 x 256 (ADM)"),
    _openai(
        "improved-imagenet-64",
        "march-2021/imagenet64_uncond_100M_1500K.pt",
        "ImageNet 64 x 64, unconditional (improved DDPM)",
        source=IMPROVED_DIFFUSION,
        parameters=121_063_942,
        config=IMPROVED_4000 | {"num_heads": 4},
    ),
    _openai(
        "improved-cifar10-32",
        "march-2021/cifar10_uncond_50M_500K.pt",
        "CIFAR-10 32 x 32 (improved DDPM)",
        source=IMPROVED_DIFFUSION,
        parameters=52_546_438,
        config=IMPROVED_4000 | {"num_heads": 4},
    ),
    _openai(
        "improved-lsun-bedroom",
        "march-2021/lsun_uncond_100M_1200K_bs128.pt",
        "LSUN bedrooms 256 x 256 (improved DDPM)",
        source=IMPROVED_DIFFUSION,
        parameters=113_676_678,
        config=IMPROVED | {"schedule": "linear", "T": 1000, "num_heads": 1},
    ),
    _diffusers(
        "ddpm-celebahq-256",
        "CelebA-HQ faces 256 x 256 (DDPM; needs diffusers)",
        sha256="efff89712093ad060ce99d9b461bbe542b49d8dd4ce30f23fe5761dca292361d",
        size=454_853_117,
    ),
    _diffusers("ddpm-church-256", "LSUN churches 256 x 256 (DDPM; needs diffusers)"),
    _diffusers("ddpm-cat-256", "LSUN cats 256 x 256 (DDPM; needs diffusers)"),
    _diffusers("ddpm-bedroom-256", "LSUN bedrooms 256 x 256 (DDPM; needs diffusers)"),
    _diffusers("ddpm-cifar10-32", "CIFAR-10 32 x 32 (DDPM; needs diffusers)", 35_746_307),
]
ENTRIES = {entry.name: entry for entry in _ALL}


def find(name: str) -> Entry:
    """The entry of a name or alias; raises if there is none."""
    entry = known(name)
    if entry is None:
        raise unknown("prior", name, ENTRIES)
    return entry


def known(name: str) -> Entry | None:
    """The entry of a name or alias (the file's stem, or the name on the hub); None if unknown."""
    return next((e for e in ENTRIES.values() if name in (e.name, *e.aliases)), None)


def of_file(path: Path) -> Entry | None:
    """The entry whose only file has the name of `path`, in any folder; None if there is none."""
    single = (entry for entry in ENTRIES.values() if not entry.folder)
    return next((e for e in single if path.name in (file.name for file in e.files)), None)
