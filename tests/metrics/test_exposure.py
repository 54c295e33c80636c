"""MEF-SSIM against its definition, patch by patch, and closed forms; its guarantees."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tifffile

from ddfm.errors import DdfmError
from ddfm.metrics import evaluate, mef_ssim

WEIGHTS = np.array([0.0448, 0.2856, 0.3001])


def exposures(count: int = 3) -> list[np.ndarray]:
    """A scene at several exposure times, clipped at black and white."""
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.uniform(0, 1, (8, 8)), np.ones((7, 7)))[:46, :49]
    light = np.exp2(4 * coarse + rng.normal(0, 0.4, coarse.shape)) * 16
    return [np.rint(np.clip(light * 2.0**k, 0, 255)) for k in range(-1, count - 1)]


def definition(fused: np.ndarray, sources: list[np.ndarray]) -> float:
    """The formulas of the paper, for one patch of 11x11 pixels at a time."""
    x = np.arange(11) - 5
    window = np.exp(-(x[:, None] ** 2 + x**2) / 4.5)
    window /= window.sum()
    images, score = [fused, *sources], 1.0
    for weight in WEIGHTS / WEIGHTS.sum():
        rows, columns = images[0].shape[0] - 10, images[0].shape[1] - 10
        values = [
            _patch([image[i : i + 11, j : j + 11] for image in images], window)
            for i in range(rows)
            for j in range(columns)
        ]
        score *= np.mean(values) ** weight
        images = [np.pad(image, [(0, n % 2) for n in image.shape], "edge") for image in images]
        images = [(a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2]) / 4 for a in images]
    return score


def _patch(patches: list[np.ndarray], window: np.ndarray) -> float:
    fused, *sources = (patch - patch.mean() for patch in patches)
    norms = [np.linalg.norm(source) for source in sources]
    agreement = min(1.0, np.linalg.norm(sum(sources)) / max(sum(norms), 1e-12))
    power = min(10.0, math.tan(math.pi / 2 * agreement)) if agreement < 1 else 10.0
    weights = np.array([((norm + 1e-3) / 11) ** power for norm in norms])
    weights /= weights.sum()
    structure = sum(
        w * source / (norm + 1e-3) for w, source, norm in zip(weights, sources, norms, strict=True)
    )
    length = np.linalg.norm(structure)
    wanted = structure / length * (max(norms) + 1e-3) if length else structure

    def covariance(a: np.ndarray, b: np.ndarray) -> float:
        return float((window * a * b).sum() - (window * a).sum() * (window * b).sum())

    c = (0.03 * 255) ** 2
    both = covariance(wanted, wanted) + covariance(fused, fused) + c
    return (2 * covariance(wanted, fused) + c) / both


@pytest.mark.parametrize("count", [2, 3])
def test_agrees_with_the_definition(count):
    sources = exposures(count=count)
    fused = np.rint(np.mean(sources, axis=0))
    expected = definition(fused, sources)
    assert 0.3 < expected < 0.999  # there is something to measure
    assert mef_ssim(fused, *sources) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("gain", [0.25, 0.7, 1.0])
def test_the_desired_contrast_is_the_highest(gain):
    """A chequerboard, weaker in one exposure: it has contrast only at the finest scale."""
    board = np.indices((64, 64)).sum(0) % 2 * 2.0 - 1
    strong, weak, fused = 128 + 40 * board, 90 + 10 * board, 100 + gain * 40 * board
    c = (0.03 * 255) ** 2
    there = (2 * gain * 1600 + c) / (1600 + gain**2 * 1600 + c)
    expected = there ** (WEIGHTS[0] / WEIGHTS.sum())
    # Its mean within an odd window is not quite that of the whole.
    assert mef_ssim(fused, weak, strong) == pytest.approx(expected, rel=1e-3)


def test_one_scene_well_exposed_is_its_own_fusion():
    scene = exposures(count=2)[0]
    assert mef_ssim(scene, scene, scene) == pytest.approx(1, abs=1e-6)
    assert mef_ssim(scene / 2 + 60, scene / 2, scene / 2) == pytest.approx(1, abs=1e-6)  # as bright
    assert mef_ssim(255 - scene, scene, scene) == 0


def test_a_fusion_beats_its_sources_and_noise_makes_it_worse():
    texture = np.random.default_rng(0).uniform(60, 200, (60, 400))
    window = np.arange(400) >= 200  # seen in the short exposure; the room beside it in the long one
    dark, bright = np.where(window, texture, 4), np.where(window, 255, texture)
    mixed = texture
    best = mef_ssim(mixed, dark, bright)
    assert best > max(mef_ssim(dark, dark, bright), mef_ssim(bright, dark, bright)) + 0.3
    noise = np.random.default_rng(1).normal(0, 12, mixed.shape)
    assert mef_ssim(np.clip(mixed + noise, 0, 255), dark, bright) < best - 0.02


def test_it_is_for_exposures_and_needs_a_minimum_size():
    images = exposures()
    assert "MEF-SSIM" not in evaluate(*images, task="ir-visible")
    assert "MEF-SSIM" in evaluate(*images, task="multi-exposure")
    with pytest.raises(DdfmError, match="44x44"):
        mef_ssim(*(image[:43] for image in images))


@pytest.mark.parametrize("kind", ["16 bits", "counts"])
@pytest.mark.parametrize("colors", [1, 3])
def test_files_of_exposures_are_measured_as_they_are_fused(kind, colors, tmp_path):
    """On one scale: 12 bits in 16, or counts; so they are measured as the same in 8 bits."""
    arrays = [np.stack([e * s for s in (1, 0.9, 0.8)[:colors]], axis=-1) for e in exposures()]
    whole = [np.rint(array).astype(np.uint8) for array in arrays]
    whole[0][0, 0], whole[-1][0, 0] = 0, 255
    for k, array in enumerate(whole):
        deep = (array.astype(np.uint16) if kind == "16 bits" else array.astype(np.float32)) * 16
        form = "rgb" if colors == 3 else "minisblack"
        tifffile.imwrite(tmp_path / f"{k}.tif", deep.squeeze(), photometric=form)
    fused = np.mean(whole, axis=0)
    fused = np.rint(fused).astype(np.uint8).squeeze()
    task = "multi-exposure" if colors == 1 else None
    files = [tmp_path / f"{k}.tif" for k in range(len(whole))]
    how = {"metrics": ["MEF-SSIM", "PSNR", "MI"], "task": task}
    expected = evaluate(fused, *(array.squeeze() for array in whole), **how)
    for name, value in evaluate(fused, *files, **how).items():
        assert value == pytest.approx(expected[name], rel=0.03)
