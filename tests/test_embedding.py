"""For programs that embed ddfm: progress, cancelling, and classes of errors."""

from __future__ import annotations

import inspect
import logging
import warnings
from dataclasses import fields

import numpy as np
import pytest

import ddfm
from ddfm.config import FusionConfig
from ddfm.diffusion.watch import Watch
from ddfm.pipeline.folders import fuse_folders
from ddfm.progress import counting_parts
from image_files import folders_of_noise

A, B = np.random.default_rng(0).random((2, 40, 48), np.float32)


def test_a_callback_that_returns_false_cancels_a_fusion():
    seen = []

    def callback(step):
        seen.append(step.index)
        return len(seen) < 2

    with pytest.raises(ddfm.Cancelled, match="cancelled by its callback"):
        ddfm.fuse(A, B, prior="gaussian", steps=4, callback=callback)
    assert seen == [0, 1]
    assert not issubclass(ddfm.Cancelled, ddfm.InputError | ddfm.HostError)
    with pytest.raises(ddfm.Cancelled):
        ddfm.fuse(A, B, prior="gaussian", callback=lambda step: np.mean(B) > 1)
    assert ddfm.fuse(A, B, prior="gaussian", steps=4, callback=seen.append).picture.size == (40, 48)


def test_a_cancelled_folder_continues_with_the_same_result(tmp_path):
    folders = folders_of_noise(tmp_path, range(5), (16, 16))
    fuser = ddfm.Fuser("gaussian", look=False)
    done = []

    def callback(outcome):
        done.append(outcome.output.name)
        return np.less(len(done), 2)  # a bool of NumPy

    with pytest.raises(ddfm.Cancelled, match="with 2 done"):
        fuse_folders(*folders, tmp_path / "out", fuser, callback=callback)
    assert done == ["0.png", "1.png"]
    left = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert set(done) <= left < {f"{k}.png" for k in range(5)}
    assert not list((tmp_path / "out").glob(".partial-*"))
    summary = fuse_folders(*folders, tmp_path / "out", fuser)
    assert {o.output.name for o in summary.of("skipped")} == left
    fuse_folders(*folders, tmp_path / "whole", fuser)
    for k in range(5):
        name = f"{k}.png"
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_stages_are_logged_by_the_name_of_the_package(caplog):
    with caplog.at_level(logging.INFO, "ddfm"):
        ddfm.fuse(A, B, prior="gaussian", clean=0.01)
    stages = [record.getMessage() for record in caplog.records if record.name == "ddfm"]
    assert stages[0] == "loading the prior"
    assert stages[-1] == "fusing 48 x 40 pixels"
    assert "removing noise" in stages


def test_objects_have_a_repr_of_one_line():
    prior = ddfm.load_prior("gaussian")
    fuser = ddfm.Fuser(prior, task="medical")
    seen: list[ddfm.Step] = []
    fusion = fuser(A, B, callback=seen.append, trajectory=True)
    assert repr(fusion.picture) == "Picture(48 x 40 grey float32, the first image)"
    last = seen[-1]
    assert repr(last) == f"Step(index={len(seen) - 1}, steps={len(seen)}, t={last.t})"
    assert repr(fusion.trajectory[-1]) == f"Snapshot(step={last.index}, t={last.t})"
    assert repr(fusion) == "Fusion(48 x 40 grey float32, of the first image + the second image)"
    assert repr(fuser) == "Fuser('gaussian', task='medical', device='cpu')"
    assert repr(prior) == f"GaussianPrior('gaussian', grey, {len(prior.alphas_bar)} timesteps)"


def test_the_signature_of_fuse_names_all_its_arguments():
    names = inspect.signature(ddfm.fuse).parameters
    assert set(inspect.signature(ddfm.Fuser).parameters) <= set(names)
    assert {"sources", "progress", "callback", "first_guess"} <= set(names)
    assert not [p for p in names.values() if p.kind is p.VAR_KEYWORD]
    of_call = inspect.signature(ddfm.Fuser.__call__).parameters
    for name, own in (dict(inspect.signature(ddfm.Fuser).parameters) | dict(of_call)).items():
        if name not in ("self", "sources"):
            assert (names[name].default, names[name].annotation) == (own.default, own.annotation)
    for field in fields(FusionConfig):
        if field.name not in ("observations", "options"):  # None is an empty collection there
            assert names[field.name].default == field.default
    values = {"progress": False, "callback": print, "trajectory": True, "first_guess": None}
    assert ddfm.fuse(A, B, prior="gaussian", steps=1, **values).trajectory


def test_float16_on_a_cpu_causes_a_warning():
    with pytest.warns(ddfm.errors.DdfmWarning, match="float16 is much slower"):
        ddfm.Fuser("gaussian", dtype="float16", device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ddfm.Fuser("gaussian", dtype="bfloat16", device="cpu")


def test_tiles_are_counted_in_the_progress():
    import torch

    from ddfm.priors.tiled import in_tiles

    seen = []
    with counting_parts(lambda *part: seen.append(part)):
        in_tiles(lambda x: x, torch.zeros(1, 1, 64, 96), 64, 32, 8)
    count = len(seen)
    assert count > 1 and seen == [(k, count) for k in range(1, count + 1)]
    with Watch(progress=True) as watch:
        watch.expect(2)
        in_tiles(lambda x: x, torch.zeros(1, 1, 64, 96), 64, 32, 8)
        assert 0 < watch.bar.n <= 1
