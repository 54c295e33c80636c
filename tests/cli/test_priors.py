"""Priors on the command line: listed, checked, trained and used, and bad ones are refused."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import ddfm
from command_line import FAST, ddfm_run, refused
from ddfm.priors.checkpoints import save_checkpoint
from ddfm.priors.residual_unet import ResidualUNetConfig
from ddfm.priors.unet import UNet, UNetConfig


def test_priors_are_listed_shown_and_checked(monkeypatch, tmp_path):
    monkeypatch.setenv("DDFM_CACHE", str(tmp_path))
    listed = ddfm_run("priors", "list").output
    assert "gaussian" in listed and "openai-256" in listed
    shown = ddfm_run("priors", "show", "openai-256").output
    assert (
        "MIT" in shown
        and "a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1" in shown
    )
    assert ddfm_run("priors", "check", "gaussian").output == "gaussian: part of ddfm\n"
    refused(ddfm_run("priors", "check", "openai-256"), "ddfm priors get openai-256")
    refused(ddfm_run("priors", "get", "gaussian"), "nothing to download")


def test_a_check_compares_denoising_with_a_classical_method(tmp_path):
    """Both are better than the noisy image, which has 20 log10(255 / sigma) dB."""
    rows, columns = np.mgrid[:70, :90]
    for k in range(2):
        picture = 127 + 60 * np.sin(rows / 9 + k) + 50 * np.cos(columns / 11)
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / f"{k}.png")
    result = ddfm_run("priors", "check", "gaussian", "--photographs", tmp_path, "--device", "cpu")
    assert result.exit_code == 0, result.output
    head, *rows = result.output.splitlines()[1:]
    assert head.split() == ["sigma", "15", "sigma", "25", "sigma", "50"]
    assert rows[0].split()[0] == "gaussian" and len(rows) <= 2
    for row in rows:
        gained = [float(value) for value in row.split()[-3:]]
        assert gained == sorted(gained, reverse=True)
        for value, sigma in zip(gained, (15, 25, 50), strict=True):
            assert value > 20 * np.log10(255 / sigma) + 1


def test_a_prior_is_trained_and_used(pair, out, tmp_path, monkeypatch):
    """A small one, and without the pictures that training draws, which take a while."""
    small = ResidualUNetConfig(stem=4, widths=(8, 8), depths=(1, 1))
    monkeypatch.setattr("ddfm.training.train_prior.SHIPPED", small)
    monkeypatch.setattr("ddfm.training.train_prior.sample_sheet", lambda *a, **k: None)
    rng = np.random.default_rng(0)
    (tmp_path / "photographs").mkdir()
    noise = rng.integers(0, 256, (130, 140, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photographs" / "p.png")
    arguments = ["--out", tmp_path / "run", "--steps", 2, "--batch", 1, "--device", "cpu"]
    arguments += ["--kind", "eps"]
    result = ddfm_run("train-prior", tmp_path / "photographs", *arguments)
    weights = tmp_path / "run" / "prior.safetensors"
    assert (result.exit_code, result.stdout) == (0, f"{weights}\n")
    assert ddfm.load_prior(weights).kind == "eps"
    assert ddfm_run("fuse", *pair, "-o", out, *FAST, "--prior", weights).exit_code == 0
    refused(ddfm_run("train-prior", tmp_path / "nowhere", *arguments), "not a folder")

    checked = ddfm_run("priors", "check", weights)
    assert (checked.exit_code, checked.output) == (
        0,
        f"{weights}: loads without errors, channels: 1\n",
    )
    measured = ddfm_run("priors", "check", weights, "--photographs", tmp_path / "photographs", "-q")
    assert measured.exit_code == 0 and "prior" in measured.output.splitlines()[2]


def test_the_weights_package_resolves_where_ddfm_is_installed():
    try:
        importlib.metadata.version("ddfm")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("ddfm is run without being installed")
    assert importlib.util.find_spec("ddfm.pretrained") is not None


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def tiny(**changes) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    config = UNetConfig(
        in_channels=1, out_channels=1, model_channels=32, channel_mult=(1, 1), num_res_blocks=1,
        attention=(), **changes,
    )  # fmt: skip
    return UNet(config).state_dict(), {
        "kind": "eps", "schedule": "linear", "T": 1000, "num_heads": 4,
        "use_new_attention_order": False,
    }  # fmt: skip


def bad_prior(kind: str, folder: Path) -> tuple[str, str]:
    """A value of --prior, and words that the message must contain."""
    path = folder / "w.pt"
    state, settings = tiny()
    if kind == "no such name":
        return "gausian", "did you mean gaussian?"
    if kind == "no such file":
        return str(path), "there is no such file"
    if kind == "text":
        path.write_text("no weights at all")
        return str(path), "is not a checkpoint"
    if kind == "a program":
        path.write_text("import numpy, os\nprint(numpy.pi)\n")
        return str(path), "is not a checkpoint"
    if kind == "text as safetensors":
        path.with_suffix(".safetensors").write_text("no weights at all")
        return str(path.with_suffix(".safetensors")), "is not a whole safetensors file"
    if kind == "truncated":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-2000])
        return str(path), "is not a checkpoint, or is damaged"
    if kind == "another network":
        torch.save(torch.nn.Linear(3, 4).state_dict(), path)
        return str(path), str(path)
    if kind == "a few other shapes":
        path = path.with_suffix(".safetensors")
        save_checkpoint(path, state | {"out.2.weight": torch.zeros(1, 32, 5, 5)}, settings)
        return str(path), "out.2.weight"
    if kind == "malicious":
        path.write_bytes(pickle.dumps(Payload(folder / "owned"), protocol=2))
        return str(path), "weights must not run programs"
    if kind == "class conditioning":
        torch.save(state | {"label_emb.weight": torch.zeros(1000, 128)}, path)
        return str(path), "class conditioning"
    if kind == "not finite":
        path = path.with_suffix(".safetensors")
        save_checkpoint(path, state | {"out.2.bias": torch.tensor([torch.nan])}, settings)
        return str(path), "has weights that are NaN or infinite, in out.2.bias"
    assert kind == "settings missing"
    save_file(state, path.with_suffix(".safetensors"))
    return str(path.with_suffix(".safetensors")), "does not specify"


PRIORS = [
    *("no such name", "no such file", "text", "a program", "text as safetensors", "truncated"),
    *("another network", "a few other shapes", "malicious", "class conditioning"),
    *("not finite", "settings missing"),
]


@pytest.mark.parametrize("kind", PRIORS)
def test_bad_priors_are_refused(kind, pair, out, tmp_path):
    prior, words = bad_prior(kind, tmp_path)
    refused(ddfm_run("fuse", *pair, "-o", out, *FAST, "--prior", prior), words)
    if os.path.exists(prior):
        refused(ddfm_run("priors", "check", prior), words)
    assert not (tmp_path / "owned").exists() and list(out.parent.iterdir()) == []
