"""Devices and dtypes by name: where to compute, and how precisely."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ddfm.arguments import one_of
from ddfm.errors import HostError, InputError, short

if TYPE_CHECKING:
    import torch

__all__ = [
    "check_device",
    "check_dtype",
    "fast_dtype",
    "find_device",
    "find_dtype",
    "found_without_torch",
    "kinds_with_autocast",
    "undisturbed",
]

DTYPES = ("float32", "bfloat16", "float16")
AUTOCAST = ("cpu", "cuda", "mps", "xpu")  # kinds of devices for which a caller may have set it
DEVICES = ("cpu", "cuda", "hpu", "mps", "mtia", "npu", "xla", "xpu")  # kinds that torch may have
# Files in /dev that suggest a GPU: of NVIDIA, of NVIDIA's embedded boards, of AMD, of WSL.
GPUS = ("nvidia*", "nvhost*", "nvgpu*", "nvmap", "kfd", "dxg")


def check_dtype(name: str) -> str:
    """Returns the name of a dtype, or raises an error that lists all; torch is not imported."""
    return one_of("dtype", name, ("auto", *DTYPES))


def check_device(name: str) -> None:
    """Refuses a device that this machine cannot have. Only torch knows whether others work."""
    kind = name.partition(":")[0]
    gone = (kind == "cuda" and not _may_have_gpu()) or (kind == "mps" and sys.platform != "darwin")
    if gone or kind not in ("auto", *DEVICES):
        raise _no_device(name)


def find_device(name: str | torch.device = "auto") -> torch.device:
    """A device that works on this machine; "auto" takes CUDA or Apple's GPU if there is one."""
    import torch

    if not isinstance(name, str | torch.device):
        raise InputError(f"a device is a name such as cpu, or auto, not {short(name)}")
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise _no_device(str(name)) from None
    return device


def find_dtype(name: str | torch.dtype = "auto", usual: torch.dtype | None = None) -> torch.dtype:
    """The dtype of a network; "auto" is `usual`, or float32 without it."""
    import torch

    if not isinstance(name, str | torch.dtype):
        raise InputError(f"a dtype is a name such as float32, or auto, not {short(name)}")
    name = check_dtype(str(name).removeprefix("torch."))
    return (usual or torch.float32) if name == "auto" else getattr(torch, name)


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a CPU with instructions for it, else float32, which is then faster.

    The features that the CPU reports decide, not a measurement, so that the same machine always
    produces the same pixels.
    """
    import torch

    # `found_without_torch` checks the same features by other names.
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch 2.4 and later have them
    if device.type == "cpu" and any(getattr(torch.cpu, test, bool)() for test in tests):
        return torch.bfloat16
    return torch.float32


def found_without_torch(device: str, dtype: str) -> tuple[str, str] | None:
    """The names of the dtype and the device for a short loop, or None where only torch can decide.

    They are those that `find_device` and `fast_dtype` would find, as far as the system shows them.
    """
    if sys.platform != "linux" or device not in ("auto", "cpu"):
        return None
    if device == "auto" and _may_have_gpu():
        return None
    if dtype != "auto":
        return dtype, "cpu"
    words = Path("/proc/cpuinfo").read_text("utf-8", "replace").split()
    return "bfloat16" if {"avx512_bf16", "amx_tile"} & set(words) else "float32", "cpu"


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within it, autocast is off and new tensors are on the CPU, whatever the caller has set.

    Both are settings of a thread, and would change results, or mix dtypes and devices. (The default
    dtype is one of the whole process, and is not touched: where it matters, the dtype is given.)
    """
    import torch

    with ExitStack() as stack:
        for kind in kinds_with_autocast():
            stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def kinds_with_autocast() -> list[str]:
    """The kinds of devices for which autocast is on."""
    import torch

    found = []
    try:
        for kind in AUTOCAST:
            with suppress(RuntimeError):  # not every version has autocast for each of them
                found += [kind] if torch.is_autocast_enabled(kind) else []
    except TypeError:  # torch before 2.4
        on = {"cuda": torch.is_autocast_enabled(), "cpu": torch.is_autocast_cpu_enabled()}
        return [kind for kind in on if on[kind]]
    return found


def _may_have_gpu() -> bool:
    """Whether CUDA may work here; on Linux, a GPU of any maker shows in /dev."""
    return sys.platform != "linux" or any(any(Path("/dev").glob(name)) for name in GPUS)


def _no_device(name: str) -> HostError:
    return HostError(f"there is no device {short(name)} here; use auto or cpu")
