"""Training of the descriptor: samples with a known truth, and a network that learns it."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy import ndimage

from ddfm.registration.descriptor import Descriptor, describe
from ddfm.registration.refine import centred, likeness, tiled
from ddfm.training import descriptor
from ddfm.training.descriptor import REACH, WINDOW, Samples, Training, loss


def pairs(count=2):
    rng = np.random.default_rng(0)
    scenes = ndimage.gaussian_filter(rng.standard_normal((count, 160, 300)), (0, 3, 3)) * 8
    return [(scene, 1 - scene) for scene in scenes.clip(-0.5, 0.5).astype(np.float32) + 0.5]


def test_tiles_are_most_similar_at_the_true_offset():
    samples = Samples(pairs(), seed=0)
    near = []
    for _ in range(8):
        sample = samples.draw()
        a, b = (
            centred(describe(x), seen) for x, seen in zip(sample.sides, sample.seen, strict=True)
        )
        size = tuple(-(-side // n) for side, n in zip(WINDOW, sample.tiles, strict=True))
        surfaces = likeness(
            tiled(a, sample.tiles, size, 0), tiled(b, sample.tiles, size, REACH), REACH
        )
        peaks = surfaces.flatten(2).argmax(2).flatten()
        found = torch.stack([peaks % (2 * REACH + 1), peaks // (2 * REACH + 1)], 1) - REACH
        near += ((found - sample.off).norm(dim=1) < 1.5).tolist()
    assert np.mean(near) > 0.7  # what a sample does not show all of is in it, too


def test_the_truth_is_likelier_than_another_shift():
    sample = Samples(pairs(), seed=1).draw()
    described = torch.stack([describe(side) for side in sample.sides])
    true = loss(described, sample, torch.tensor(20.0))
    sample.off.add_(4.0)
    assert true < loss(described, sample, torch.tensor(20.0))


def test_it_learns_and_what_is_saved_is_the_network(tmp_path):
    samples = Samples(pairs(), seed=2)
    batch, training = [samples.draw() for _ in range(2)], Training(3e-3)
    losses = [training.step(batch, 1.0) for _ in range(8)]
    assert losses[-1] < losses[0] - 0.3
    training.keep(tmp_path / "weights.safetensors")
    again = Descriptor()
    again.load_state_dict(
        {name: w.float() for name, w in load_file(tmp_path / "weights.safetensors").items()}
    )
    x = torch.rand(1, 1, 31, 45)
    with torch.no_grad():
        assert torch.allclose(again(x), training.network(x), atol=0.02, rtol=0.02)
        assert again(x).shape == (1, 12, 31, 45)


def test_a_run_that_diverges_keeps_the_weights_that_it_has_written(tmp_path, monkeypatch):
    for name, side in (("ir", 0), ("vi", 1)):
        (tmp_path / name).mkdir()
        for number, pair in enumerate(pairs(6)):  # the sixth is kept aside
            levels = np.uint8(255 * pair[side])
            Image.fromarray(levels).save(tmp_path / name / f"{number}.png")
    out = tmp_path / "weights.safetensors"
    out.write_bytes(b"good")
    told = [str(tmp_path), "--out", str(out), "--minutes", "0.5", "--batch", "1", "--rate", "1e30"]
    monkeypatch.setattr(sys, "argv", ["descriptor", *told])
    monkeypatch.setattr(descriptor, "MEASURED", 1)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    with pytest.raises(SystemExit, match=r"training diverged: the loss is not finite .*--rate"):
        descriptor.main()
    assert out.read_bytes() == b"good"
