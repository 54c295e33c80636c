"""dtypes by name, which one is fast, and settings of torch that a caller may have changed."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from ddfm import DdfmError, Fuser
from ddfm.numerics import device
from ddfm.numerics.device import check_device, fast_dtype, find_dtype, undisturbed
from ddfm.registration import descriptor
from scenes import image

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


@contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


CHANGED = {
    "float64 by default": lambda: default_dtype(torch.float64),
    "bfloat16 by default": lambda: default_dtype(torch.bfloat16),
    "another device by default": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
}
NOISY = image(1).astype(int) + np.random.default_rng(0).normal(0, 15, (24, 20)).astype(int)
PAIR = NOISY.clip(0, 255).astype(np.uint8), image(2)


@pytest.mark.parametrize("changed", CHANGED.values(), ids=CHANGED)
@pytest.mark.parametrize(
    "settings",
    [
        {"dtype": "float32"},
        {"likelihood": "paper", "steps": 2, "sampler": "ddpm"},
        {"method": "dmfuse"},
    ],
    ids=["default", "paper", "dmfuse"],
)
def test_settings_of_torch_change_no_pixel(changed, settings):
    def fused():
        fusion = Fuser(**settings, device="cpu")(*PAIR, samples=2)
        return np.stack([fusion.image, fusion.uncertainty.std])

    expected = fused()
    with changed():
        before = torch.get_default_dtype()
        found = fused()
        assert torch.get_default_dtype() == before
    assert np.array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:torch.is_autocast_cpu_enabled")  # of later versions
def test_versions_of_torch_that_know_less_of_autocast_are_served():
    """2.4 has none for mps and raises a RuntimeError; before, the question took no kind."""
    asked = torch.is_autocast_enabled

    def of_2_4(kind):
        if kind == "mps":
            raise RuntimeError("unknown device type for autocast")
        return asked(kind)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        for known in (of_2_4, lambda: False):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(torch, "is_autocast_enabled", known)
                found = device.kinds_with_autocast()
            assert found == ["cpu"]


def test_settings_of_torch_are_as_before_afterwards():
    with torch.device("meta"), torch.autocast("cpu", dtype=torch.bfloat16):
        with undisturbed():
            x = torch.ones(2, 2)
            assert (x.device.type, (x @ x).dtype) == ("cpu", torch.float32)
        assert torch.ones(1).device.type == "meta" and torch.is_autocast_enabled("cpu")


def test_a_first_fusion_leaves_the_random_numbers_of_the_caller_alone():
    descriptor._shipped.cache_clear()  # the first fusion loads what alignment needs
    before = torch.get_rng_state()
    with default_dtype(torch.float64):
        Fuser(prior="gaussian", device="cpu")(image(1, 64, 64), image(2, 64, 64))
    assert descriptor._shipped.cache_info().currsize == 1
    assert torch.equal(torch.get_rng_state(), before)
