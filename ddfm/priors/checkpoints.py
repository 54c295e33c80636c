"""Files of weights: read without running anything of theirs, and made into priors.

`.safetensors` hold tensors and nothing else. `.pt`, `.pth`, `.bin` and `.ckpt` are pickles, which
could run any program; PyTorch's restricted reader takes tensors and plain containers from them,
and whatever asks for more is refused. Settings that weights do not tell (see `settings`) stand in a
JSON file beside them (weights.pt.json), or in the metadata of a safetensors file (a JSON text
under "ddfm"). Arguments overrule the file beside, which overrules the metadata.
"""

from __future__ import annotations

import json
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddfm.errors import DdfmError, InputError, disk_explained, one_line
from ddfm.priors.entries import of_file
from ddfm.priors.layout import build, infer_settings, missing_network
from ddfm.priors.network import UNetPrior
from ddfm.priors.settings import (
    SETTINGS,
    alphas_bar_of,
    missing_diffusion,
    network_times,
    normalised,
    overlaid,
    refuse_missing,
)
from ddfm.storage.checksum import sha256_of
from ddfm.storage.files import write_weights
from ddfm.storage.inputs import BoundedFile, existing_file, json_object, read_text

__all__ = ["load_checkpoint", "read_settings", "read_state_dict", "save_checkpoint"]

MARK = "time_embed.0.weight"  # every network that we know has it
LEGACY_PICKLES = 5  # before the numbers, in files from before PyTorch 1.6
# Where training programs keep the weights; averages before what they are averages of.
WRAPPERS = (
    *("ema", "ema_state_dict", "model_ema", "ema_model", "params_ema"),
    *("state_dict", "model_state_dict", "model", "net", "network", "unet", "params", "module"),
)

# What weights are made of. PyTorch would allow a little more, such as a bytearray of any size.
HARMLESS = re.compile(
    r"collections\.(OrderedDict|Counter)|builtins\.set|__builtin__\.set|_codecs\.encode"
    r"|torch\.(Size|device|[a-z_]+[0-9]*|[A-Za-z0-9]+Storage)|torch\.storage\.\w+Storage"
    r"|torch\.nn\.parameter\.Parameter|torch\._utils\._rebuild_\w+|torch\.serialization\._get_layout"
)


def load_checkpoint(
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    name: str | None = None,
    **config: Any,
) -> UNetPrior:
    """The prior in a file. `config` are settings that the file does not tell, or tells wrongly."""
    path = Path(path)
    where = str(path)
    state = read_state_dict(path)
    entry = of_file(path)
    given = overlaid(
        entry.config if entry else {},
        read_settings(path),
        normalised(config, "the call", only=SETTINGS),
    )
    settings = infer_settings(state, given, where)
    missing = missing_network(settings) + missing_diffusion(settings)
    if settings.get("T", 1000) != 1000 and "rescale_timesteps" not in settings:
        missing.append("rescale_timesteps")
    refuse_missing(missing, where, f"say it as an argument or in {path.name}.json")
    network = build(state, settings, where, device, dtype)
    alphas_bar = alphas_bar_of(settings)
    extras = {key: value for key, value in settings.items() if key not in SETTINGS}
    info = extras | {
        "source": where,
        "sha256": sha256_of(path),
        "kind": settings["kind"],
        "T": len(alphas_bar),
        "schedule": settings.get("schedule", "given"),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "config": network.config.to_dict(),
    }
    return UNetPrior(
        network,
        alphas_bar,
        kind=settings["kind"],
        times=network_times(settings, len(alphas_bar)),
        name=name or str(settings.get("name") or (entry.name if entry else path.stem)),
        info=info,
    )


def save_checkpoint(
    path: str | Path, state: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> None:
    """Weights with their settings in one safetensors file, for `load_checkpoint` to read."""
    settings = normalised(settings, str(path))
    refuse_missing(missing_diffusion(settings), "a prior without them", "give its settings")
    plain = {k: v.tolist() if isinstance(v, Tensor) else v for k, v in settings.items()}
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    write_weights(path, tensors, {"ddfm": json.dumps(plain)})


def read_settings(path: Path) -> dict[str, Any]:
    """What the metadata of a file and the JSON file beside it say; {} where there is neither."""
    settings: dict[str, Any] = {}
    if path.suffix == ".safetensors":
        text = _metadata(path).get("ddfm")
        if text is not None:
            where = f"the metadata of {path}"
            settings = normalised(json_object(text, where), where)
    beside = path.with_name(path.name + ".json")
    if beside.is_file():
        told = json_object(read_text(beside), str(beside))
        settings = overlaid(settings, normalised(told, str(beside)))
    return settings


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file under the names that the network gives them, on the CPU.

    Wrappers ({"state_dict": ...}) and prefixes ("module.") fall away; of weights and their running
    average the average is taken.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"no such file of weights: {path}" + _hint(path))
    with disk_explained(f"read {path}"):
        existing_file(path).open("rb").close()
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickle(path)
    found = _find(content) or content
    tensors = _without_prefix(found) if isinstance(found, Mapping) else {}
    if not tensors:
        raise InputError(f"{path} holds no weights of a network")
    for key, tensor in tensors.items():
        if (kind := _unfit(tensor)) is not None:
            raise InputError(f"{path} was refused: {key} is {kind}, and weights are plain numbers")
    # Views of one number can pose as a tensor of any size. Copied, they would fill the memory.
    if sum(tensor.nbytes for tensor in tensors.values()) > path.stat().st_size:
        raise InputError(f"{path} is damaged: it claims more numbers than it holds")
    return tensors


def _hint(path: Path) -> str:
    entry = of_file(path)
    return f" (`ddfm priors get {entry.name}` brings it)" if entry else ""


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a whole safetensors file: {one_line(error)}") from None


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise InputError(f"{path} is not a whole safetensors file: {one_line(error)}") from None


def _pickle(path: Path) -> Any:
    try:
        zipped = zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # an archive of several disks, says its damaged end
        raise InputError(f"{path} is not a checkpoint, or is damaged") from None
    if zipped:
        _refuse_bomb(path)
    for name in _asked_for(path, zipped):
        if not HARMLESS.fullmatch(name):
            raise _refusal(path, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Mapped weights are read from the disk when, and only if, they are used.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:
        asked = re.search(r"(?i)unsupported (?:global|class):? (?:global )?([\w.]+)", str(error))
        if asked:
            raise _refusal(path, asked[1]) from None
        raise InputError(f"{path} is not a checkpoint, or is damaged") from None


def _refusal(path: Path, name: str) -> DdfmError:
    return InputError(
        f"{path} was refused: it asks for {name}, and weights must not run programs; "
        "save its state dict alone, best as .safetensors"
    )


def _asked_for(path: Path, zipped: bool) -> list[str]:
    """What the pickles of a file import, by name. They are looked through, and nothing is done.

    Of a damaged one it is what comes before the damage; PyTorch gets no further either.
    """
    names: list[str] = []
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        if zipped:
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    if member.endswith(".pkl"):
                        names.extend(_imports(archive.read(member)))
        else:
            with BoundedFile(path) as file:
                for _ in range(LEGACY_PICKLES):
                    names.extend(_imports(file))
    return names


def _imports(pickle: bytes | BoundedFile) -> Iterator[str]:
    for code, argument, _ in pickletools.genops(pickle):
        if code.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")


def _unfit(tensor: Tensor) -> str | None:
    """What a tensor is that cannot be a weight; None if it can."""
    if tensor.layout != torch.strided:
        return "sparse"
    if tensor.is_quantized:
        return "quantised"
    if tensor.is_meta:
        return "without its numbers"
    return "complex" if tensor.is_complex() else None


def _refuse_bomb(path: Path) -> None:
    """PyTorch stores without compression: what unpacks to more than the file is no checkpoint."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise InputError(f"{path} is not a checkpoint, or is damaged") from None
    if unpacked > path.stat().st_size:
        raise InputError(f"{path} was refused: it would unpack to {unpacked} bytes")


def _find(content: Any, depth: int = 4, seen: set[int] | None = None) -> Mapping[str, Any] | None:
    """The first mapping, from outside in, that holds a network. None is looked into twice."""
    seen = set() if seen is None else seen
    if not isinstance(content, Mapping) or depth == 0 or id(content) in seen:
        return None
    seen.add(id(content))
    if any(isinstance(key, str) and key.endswith(MARK) for key in content):
        return content
    inner = [content[key] for key in WRAPPERS if key in content]
    inner += [value for key, value in content.items() if key not in WRAPPERS]
    for value in inner:
        if (found := _find(value, depth - 1, seen)) is not None:
            return found
    return None


def _without_prefix(content: Mapping[str, Any]) -> dict[str, Tensor]:
    tensors = {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    prefixes = [key.removesuffix(MARK) for key in tensors if key.endswith(MARK)]
    if not prefixes:
        return tensors
    prefix = min(prefixes, key=lambda prefix: ("ema" not in prefix, len(prefix)))
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }
