"""Reads files of weights safely, and writes them with their settings.

`.safetensors` files hold only tensors. `.pt`, `.pth`, `.bin` and `.ckpt` are pickles, which could
run any program; PyTorch's restricted reader reads tensors and plain containers from them, and files
that ask for more are refused. Settings that the weights do not imply (see `settings`) are in a
JSON file next to them (weights.pt.json), or in the metadata of a safetensors file (JSON under
"ddfm"). The JSON file takes precedence over the metadata.
"""

from __future__ import annotations

import json
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddfm.errors import DdfmError, InputError, disk_explained, one_line
from ddfm.priors.entries import of_file
from ddfm.priors.settings import missing_diffusion, normalised, overlaid, refuse_missing
from ddfm.storage.files import write_weights
from ddfm.storage.inputs import BoundedFile, existing_file, json_object, read_text

__all__ = ["check_finite", "read_settings", "read_state_dict", "save_checkpoint"]

MARK = "time_embed.0.weight"  # a key that all supported networks have
POINTER = b"version https://git-lfs.github.com"  # how files of Git LFS begin until it runs
LEGACY_PICKLES = 5  # pickles that precede the numbers in files from before PyTorch 1.6
# Keys under which training programs keep weights; running averages come first.
WRAPPERS = (
    *("ema", "ema_state_dict", "model_ema", "ema_model", "params_ema", "average"),
    *("state_dict", "model_state_dict", "model", "net", "network", "unet", "params", "module"),
)

# What pickles of weights may import. PyTorch allows more, such as a bytearray of any size.
HARMLESS = re.compile(
    r"collections\.(OrderedDict|Counter)|builtins\.set|__builtin__\.set|_codecs\.encode"
    r"|torch\.(Size|device|[a-z_]+[0-9]*|[A-Za-z0-9]+Storage)|torch\.storage\.\w+Storage"
    r"|torch\.nn\.parameter\.Parameter|torch\._utils\._rebuild_\w+|torch\.serialization\._get_layout"
)


def save_checkpoint(
    path: str | Path, state: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> None:
    """Write weights with their settings to a safetensors file that `load_checkpoint` reads."""
    settings = normalised(settings, str(path))
    refuse_missing(
        missing_diffusion(settings), "the prior", "give its settings, such as {keywords}"
    )
    plain = {k: v.tolist() if isinstance(v, Tensor) else v for k, v in settings.items()}
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    write_weights(path, tensors, {"ddfm": json.dumps(plain)})


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a file's metadata and in the JSON file next to it; {} if there are none."""
    settings: dict[str, Any] = {}
    if path.suffix == ".safetensors":
        text = _metadata(path).get("ddfm")
        if text is not None:
            where = f"the metadata of {path}"
            settings = normalised(json_object(text, where), where)
    beside = path.with_name(path.name + ".json")
    if beside.is_file():
        stored = json_object(read_text(beside), str(beside))
        settings = overlaid(settings, normalised(stored, str(beside)))
    return settings


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors in a file under their names in the network, on the CPU.

    Wrappers ({"state_dict": ...}) and prefixes ("module.") are removed. If a file has both weights
    and their running average, the average is returned.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"cannot read the weights {path}: there is no such file" + _hint(path))
    with disk_explained(f"read {path}"), existing_file(path).open("rb") as file:
        pointer = file.read(len(POINTER)) == POINTER
    if pointer:
        raise InputError(
            f"{path} is a pointer of Git LFS, not the weights themselves; `git lfs pull` fetches "
            "them, in a clone of their repository"
        )
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickle(path)
    found = _find(content) or content
    tensors = _without_prefix(found) if isinstance(found, Mapping) else {}
    if not tensors:
        raise InputError(f"{path} holds no weights of a network")
    for key, tensor in tensors.items():
        if (kind := _unfit(tensor)) is not None:
            raise InputError(f"{path} was refused: {key} is {kind}, and weights are plain numbers")
    # A tensor of any size may be a view of a single number, and copying it would fill memory.
    if sum(tensor.nbytes for tensor in tensors.values()) > path.stat().st_size:
        raise InputError(f"{path} is damaged: it claims more numbers than it holds")
    return tensors


def check_finite(weights: Mapping[str, Tensor], where: str) -> None:
    """Raise if any weight is NaN or infinite, as after a training that diverged."""
    for key, weight in weights.items():
        values = weight.float()
        # Their sum is a quick check, ten times as fast; that of huge weights may be infinite.
        if not bool(values.sum().isfinite() or values.isfinite().all()):
            raise InputError(f"{where} has weights that are NaN or infinite, in {key}")


def _hint(path: Path) -> str:
    entry = of_file(path)
    return f" (`ddfm priors get {entry.name}` downloads it)" if entry else ""


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    with _whole(path):
        return load_file(path)


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with _whole(path), safe_open(path, "pt") as file:
        return file.metadata() or {}


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Raises InputError if the block finds that a safetensors file is damaged."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not a whole safetensors file: {one_line(error)}") from None


def _pickle(path: Path) -> Any:
    try:
        zipped = zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # raised if the damaged end announces an archive on several disks
        raise _damaged(path) from None
    if zipped:
        _refuse_bomb(path)
    for name in _asked_for(path, zipped):
        if not HARMLESS.fullmatch(name):
            raise _refusal(path, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # With mmap, weights are read from the disk only when they are used.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:
        asked = re.search(r"(?i)unsupported (?:global|class):? (?:global )?([\w.]+)", str(error))
        if asked:
            raise _refusal(path, asked[1]) from None
        raise _damaged(path) from None


def _damaged(path: Path) -> DdfmError:
    return InputError(f"{path} is not a checkpoint, or is damaged")


def _refusal(path: Path, name: str) -> DdfmError:
    if not all(map(str.isidentifier, name.split("."))):  # text in which the scan saw an import
        return _damaged(path)
    return InputError(
        f"{path} was refused: it refers to {name}, and weights must not run programs; "
        "save only its state dict, preferably as .safetensors"
    )


def _asked_for(path: Path, zipped: bool) -> list[str]:
    """Names of what the pickles in a file import. The pickles are scanned, not executed.

    In a damaged file the scan ends at the damage, where PyTorch's reading ends, too.
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
    """Why a tensor cannot be a weight; None if it can."""
    if tensor.layout != torch.strided:
        return "sparse"
    if tensor.is_quantized:
        return "quantised"
    if tensor.is_meta:
        return "without its numbers"
    return "complex" if tensor.is_complex() else None


def _refuse_bomb(path: Path) -> None:
    """Raise if an archive unpacks to more than its size, since PyTorch does not compress."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise _damaged(path) from None
    if unpacked > path.stat().st_size:
        raise InputError(f"{path} was refused: it would unpack to {unpacked} bytes")


def _find(content: Any, depth: int = 4, seen: set[int] | None = None) -> Mapping[str, Any] | None:
    """The first mapping, from outside in, that holds a network. No mapping is searched twice."""
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
