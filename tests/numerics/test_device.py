"""dtypes by name, and which one is fast."""

from __future__ import annotations

import pytest
import torch

from ddfm import DdfmError, Fuser
from ddfm.numerics import device
from ddfm.numerics.device import check_device, fast_dtype, find_dtype

CPU = torch.device("cpu")
TESTS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def processor(monkeypatch, **can: bool) -> None:
    for test in TESTS:
        monkeypatch.setattr(torch.cpu, test, lambda test=test: can.get(test, False), raising=False)


@pytest.mark.parametrize("test", TESTS)
def test_bfloat16_is_for_processors_that_multiply_it(monkeypatch, test):
    processor(monkeypatch)
    assert fast_dtype(CPU) == torch.float32
    processor(monkeypatch, **{test: True})
    assert fast_dtype(CPU) == torch.bfloat16
    assert fast_dtype(torch.device("meta")) == torch.float32


def test_float32_is_used_if_torch_does_not_know_the_instructions(monkeypatch):
    for test in TESTS:
        monkeypatch.delattr(torch.cpu, test, raising=False)
    assert fast_dtype(CPU) == torch.float32


def test_dtypes_are_found_by_name():
    assert find_dtype() == find_dtype("torch.float32") == torch.float32
    assert find_dtype("auto", torch.bfloat16) == torch.bfloat16
    assert find_dtype(torch.float16) == find_dtype("float16") == torch.float16
    with pytest.raises(DdfmError, match="unknown dtype 'half'; known: auto, bfloat16"):
        find_dtype("half")


def test_auto_takes_bfloat16_only_where_its_rounding_is_invisible(monkeypatch):
    processor(monkeypatch, **dict.fromkeys(TESTS, True))
    how = {"prior": "gaussian", "device": "cpu"}
    assert Fuser(**how).dtype == torch.bfloat16
    assert Fuser(**how, likelihood="paper").dtype == torch.float32
    assert Fuser(**how, likelihood="paper", start=100).dtype == torch.bfloat16
    assert Fuser(method="dmfuse", device="cpu").dtype == torch.float32
    assert Fuser(**how, dtype="float32").dtype == torch.float32


def test_devices_that_cannot_be_here_are_refused_before_torch_is_asked(monkeypatch):
    monkeypatch.setattr(device.sys, "platform", "linux")
    for gpus, gone in (((), ["gpu", "cuda", "cuda:1", "mps"]), (("null",), ["gpu", "mps"])):
        monkeypatch.setattr(device, "GPUS", gpus)
        for name in ("auto", "cpu", "xpu", "cuda", "cuda:1", "mps", "gpu"):
            if name in gone:
                with pytest.raises(DdfmError, match=f"there is no device '{name}' here"):
                    check_device(name)
            else:
                check_device(name)
