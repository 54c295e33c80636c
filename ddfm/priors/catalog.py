"""Priors by name: what there is, where it comes from, and its place on this disk.

`get` brings the files of an entry into the cache, `check` compares what lies there with what
should. Where nobody has published a checksum the catalogue has none: `get` then wants one, or to be
told that the server is trusted, and notes the one of the file that came (NAME.sha256, to be read by
`sha256sum -c`), so that `check` sees later damage.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddfm.errors import DdfmError, HostError, InputError, unknown
from ddfm.extensions import brought
from ddfm.priors.download import download, gigabytes, verify
from ddfm.storage.checksum import sha256_of
from ddfm.storage.files import write_text
from ddfm.storage.inputs import with_home
from ddfm.storage.ours import MARK, check_ours
from ddfm.storage.shipped import shipped

__all__ = [
    "ADM",
    "ENTRIES",
    "Entry",
    "File",
    "cache_dir",
    "check",
    "check_prior",
    "describe",
    "find",
    "get",
    "listing",
    "names",
    "of_file",
    "path_of",
]

# The flags with which OpenAI trained its unconditional networks of guided-diffusion.
ADM: dict[str, Any] = {
    "kind": "eps",
    "schedule": "linear",
    "T": 1000,
    "num_head_channels": 64,
    "use_new_attention_order": False,
}


@dataclass(frozen=True)
class File:
    """One file of an entry. `sha256` and `size` are None where they are not published."""

    name: str
    url: str
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class Entry:
    """A prior that has a name. Without files it is part of ddfm."""

    name: str
    description: str
    channels: int
    licence: str
    source: str = ""
    files: tuple[File, ...] = ()
    folder: bool = False  # a diffusers folder, whose path is loaded, rather than a single file
    parameters: int | None = None
    config: dict[str, Any] = field(default_factory=dict)  # what the weights do not tell
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
    """A single file of guided-diffusion (jul-2021) or improved-diffusion (march-2021)."""
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
    """A model of the Hugging Face hub whose files lie side by side in one folder."""
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
NOT_INSTALLED = (
    "the weights of the prior default are not installed; reinstall ddfm, or use another prior, "
    "for example gaussian"
)
ENTRIES = {entry.name: entry for entry in _ALL}


def names() -> list[str]:
    """Of all entries, in the order of the catalogue."""
    return list(ENTRIES)


def find(name: str) -> Entry:
    """The entry of a name or alias (the file's own name, or the hub's)."""
    for entry in ENTRIES.values():
        if name == entry.name or name in entry.aliases:
            return entry
    raise unknown("prior", name, ENTRIES)


def of_file(path: Path) -> Entry | None:
    """The entry whose single file has the name of `path`, wherever it lies."""
    for entry in ENTRIES.values():
        if not entry.folder and any(file.name == path.name for file in entry.files):
            return entry
    return None


def cache_dir() -> Path:
    """$DDFM_CACHE, else ddfm in $XDG_CACHE_HOME, else ~/.cache/ddfm."""
    if own := os.environ.get("DDFM_CACHE"):
        return with_home(own)
    return with_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ddfm"


def path_of(name: str) -> Path | None:
    """Where the weights of a prior lie (a file, or the folder of a diffusers model).

    None if they are not there, or not all of them, or if the prior has none.
    """
    entry = find(name)
    if entry.name == "default":
        return shipped("default.safetensors")
    if not entry.files or not all(_place(entry, file).is_file() for file in entry.files):
        return None
    first = _place(entry, entry.files[0])
    return first.parent if entry.folder else first


def get(
    name: str, url: str | None = None, *, sha256: str | None = None, trust: bool = False
) -> Path:
    """Downloads what is missing or damaged of a prior, and says where it lies.

    Args:
        url: a mirror: the address of the file itself, or of the folder of several.
        sha256: of the weights, where none is published.
        trust: whether to take weights without any checksum.
    """
    entry = find(name)
    if not entry.files:
        path = path_of(name)
        if entry.name == "default" and path is None:
            raise HostError(NOT_INSTALLED)
        if path is None:
            raise InputError(f"nothing to download: the prior {entry.name} is part of ddfm")
        return path
    if sha256 is not None and re.fullmatch("[0-9a-fA-F]{64}", sha256) is None:
        raise InputError(f"a sha256 is 64 hexadecimal digits, not {sha256!r}")
    for file in entry.files:
        place = _place(entry, file)
        digest = file.sha256 or (None if _is_settings(file) else sha256)
        if _is_sound(entry, place, file, digest):
            continue
        if digest is None and not trust and not _is_settings(file):
            raise InputError(
                f"nobody has published a checksum of {file.name}; give one that you know with "
                f"--sha256, or take what the server sends: ddfm priors get {entry.name} --trust"
            )
        address = file.url
        if url is not None:
            address = f"{url.rstrip('/')}/{file.name}" if entry.folder else url
        least = _least(entry, file)
        check_ours(_receipt(place))
        # A receipt says that what is damaged came from here; nothing says so of other files.
        known = (sha256_of(place),) if place.is_file() and _noted(place) else ()
        download(address, place, sha256=digest, size=file.size, least=least, known=known)
        _note_checksum(place)
    path = path_of(name)
    assert path is not None
    return path


def check(name: str) -> str:
    """One line that says that the prior's files are whole; DdfmError if they are not."""
    entry = find(name)
    if not entry.files:
        path = path_of(name)
        if entry.name == "default" and path is None:
            raise HostError(NOT_INSTALLED)
        if path is not None:
            verify(path, None, None)
        return f"{entry.name}: part of ddfm" + (f", {path}" if path else "")
    path = path_of(name)
    if path is None:
        raise HostError(
            f"the prior {entry.name} is not in {cache_dir()}; `ddfm priors get {entry.name}` "
            "brings it"
        )
    against = set()
    for file in entry.files:
        place = _place(entry, file)
        verify(place, file.sha256 or _noted(place), file.size, least=_least(entry, file))
        if file.sha256 is None:
            verify(place, None, None)  # is it what its name says?
        against.add(_checksum_kind(place, file))
    weakest = min(against, key=("complete", "noted", "published").index)
    says = {
        "published": "matches the published checksum",
        "noted": "is as it was downloaded, on trust (no published checksum)",
        "complete": "is complete as far as can be seen (no published checksum)",
    }
    return f"{entry.name}: {path} {says[weakest]}"


def table() -> list[dict[str, Any]]:
    """What `listing` says, with a name for each column."""
    return [
        {
            "name": entry.name,
            "channels": entry.channels,
            "size": _size(entry),
            "status": _status(entry),
            "description": entry.description,
        }
        for entry in ENTRIES.values()
    ]


def listing() -> str:
    """All priors, one a line: name, channels, size, where it is, what it is."""
    rows: list[tuple[str, ...]] = [("NAME", "CHANNELS", "SIZE", "STATUS", "DESCRIPTION")]
    rows += [tuple(str(value) for value in row.values()) for row in table()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]])
        for row in rows
    )


def describe(name: str) -> str:
    """Everything that the catalogue knows of one prior."""
    entry = find(name)
    rows = [
        ("description", entry.description),
        ("channels", f"{entry.channels} ({'luminance' if entry.channels == 1 else 'RGB'})"),
        ("licence", entry.licence),
    ]
    if entry.source:
        rows.append(("source", entry.source))
    if entry.parameters:
        rows.append(("parameters", f"{entry.parameters:,}"))
    if entry.config:
        rows.append(("settings", ", ".join(f"{k}={v}" for k, v in entry.config.items())))
    if entry.folder:
        rows.append(("settings", "in the model's own config.json and scheduler_config.json"))
    for file in entry.files:
        rows.append(("file", file.name))
        rows.append(("  url", file.url))
        rows.append(("  size", f"{file.size:,} bytes" if file.size else "not published"))
        rows.append(("  sha256", file.sha256 or "not verified: no published checksum"))
    path = path_of(name)
    rows.append(("status", f"{_status(entry)}: {path}" if path else _status(entry)))
    return "\n".join([entry.name, *(f"  {key.ljust(12)}{value}" for key, value in rows)])


def _place(entry: Entry, file: File) -> Path:
    return cache_dir() / "priors" / entry.name / file.name


def _receipt(place: Path) -> Path:
    return place.with_name(place.name + ".sha256")


def _note_checksum(place: Path) -> None:
    write_text(_receipt(place), f"# {MARK}\n{sha256_of(place)}  {place.name}\n")


def _noted(place: Path) -> str | None:
    try:
        found = re.search("^[0-9a-f]{64}(?=  )", _receipt(place).read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return found and found[0]


def _is_sound(entry: Entry, place: Path, file: File, sha256: str | None) -> bool:
    if not place.is_file():
        return False
    try:
        verify(place, sha256 or _noted(place), file.size, least=_least(entry, file))
    except DdfmError:
        return False
    return True


def _is_settings(file: File) -> bool:
    return file.name.endswith(".json")


def _least(entry: Entry, file: File) -> int:
    """Bytes that a file must have: two a parameter, as half precision has."""
    return 1 if _is_settings(file) else 2 * (entry.parameters or 0)


def _checksum_kind(place: Path, file: File) -> str:
    if file.sha256:
        return "published"
    return "noted" if _noted(place) else "complete"


def _size(entry: Entry) -> str:
    """Exact if it is published, else what the parameters make at four bytes each."""
    if entry.files and all(file.size for file in entry.files):
        return gigabytes(sum(file.size or 0 for file in entry.files))
    if entry.parameters:
        return "~" + gigabytes(4 * entry.parameters)
    path = path_of(entry.name)
    return gigabytes(path.stat().st_size) if path else "-"


def _status(entry: Entry) -> str:
    if entry.name == "default":
        return "part of ddfm" if path_of(entry.name) else "not installed"
    if not entry.files:
        return "part of ddfm"
    return "in the cache" if path_of(entry.name) else "to download"


def check_prior(text: str) -> None:
    """Refuses what is neither the name of a prior nor a path of anything; torch is not imported."""
    from ddfm.priors import hub

    if hub.is_of_hub(text):
        hub.place_of(text)
        return
    path = with_home(text)
    named = any(text == entry.name or text in entry.aliases for entry in ENTRIES.values())
    if named or path.exists() or text in brought("prior"):
        return
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"no such file of weights: {path}")
    raise unknown("prior", text, [*names(), *brought("prior")])
