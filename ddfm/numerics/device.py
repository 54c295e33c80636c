"""Where and how precisely to compute: devices and dtypes by name."""

from __future__ import annotations

import torch

from ddfm.errors import DdfmError, short, unknown

__all__ = ["DTYPES", "find_device", "find_dtype"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def find_device(name: str | torch.device = "auto") -> torch.device:
    """A device that works here; "auto" takes CUDA or Apple's GPU where there is one."""
    if not isinstance(name, str | torch.device):
        raise DdfmError(f"a device is named, as cpu is, or auto, not {short(name)}")
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError):
        raise DdfmError(f"there is no device {short(str(name))} here; use auto or cpu") from None
    return device


def find_dtype(name: str | torch.dtype = "auto") -> torch.dtype:
    """The dtype of a network; "auto" is float32."""
    if not isinstance(name, str | torch.dtype):
        raise DdfmError(f"a dtype is named, as float32 is, or auto, not {short(name)}")
    if name == "auto":
        return torch.float32
    name = str(name).removeprefix("torch.")
    if name not in DTYPES:
        raise unknown("dtype", name, ["auto", *DTYPES])
    return DTYPES[name]
