"""ONNX files: ONNX Runtime computes the same as torch."""

import math
from dataclasses import replace

import numpy as np
import onnx
import pytest
import scipy.fft
import torch
from PIL import Image

import ddfm
from command_line import ddfm_run, refused
from ddfm.export.graphs import Graph, make_graph
from ddfm.export.onnx import dynamic_shapes, onnx_of
from ddfm.likelihood import EvidenceLikelihood
from ddfm.numerics import poisson, regions
from ddfm.numerics.exporting import median, repeated
from ddfm.numerics.noise_level import is_noise, noise_level
from ddfm.priors.network import UNetPrior
from ddfm.priors.schedule import alphas_bar
from ddfm.priors.unet import UNet, UNetConfig

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def computed(model, **inputs):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {k: x.numpy() for k, x in inputs.items()})[0])


@pytest.fixture(scope="module")
def prior():
    config = UNetConfig(
        in_channels=1,
        out_channels=1,
        model_channels=16,
        channel_mult=(1,),
        num_res_blocks=1,
        attention=(),
        num_head_channels=8,
        norm_groups=4,
        patch=2,
    )
    torch.manual_seed(0)
    network = UNet(config).eval().requires_grad_(False)
    for weight in network.parameters():
        weight.copy_(torch.randn_like(weight) / weight[0].numel() ** 0.5)
    return UNetPrior(network, alphas_bar("linear"), kind="v")


def test_a_prior_returns_the_same_as_torch_at_every_size_and_timestep(prior):
    model = onnx_of(make_graph("prior", prior), "prior")
    onnx.checker.check_model(model)
    for height, width, t in ((32, 64, 7), (96, 36, 400)):
        x, times = torch.randn(1, 1, height, width), torch.tensor([t])
        expected = prior(x, times)
        assert (computed(model, x=x, t=times) - expected).abs().max() < 1e-4 * expected.std()


def test_the_noise_graph_agrees_with_ddfm_and_reveals_nothing_about_this_machine(prior):
    model = onnx_of(make_graph("noise", prior), "noise")
    for size in ((40, 75), (128, 64), (32, 34)):
        x = torch.rand(1, 1, 1, size[1]).expand(1, 1, *size) + 0.05 * torch.randn(1, 1, *size)
        assert computed(model, x=x).item() == pytest.approx(noise_level(x), rel=1e-4)
        fine = 2 * torch.rand(1, 1, size[0] + 2, size[1] + 2)
        texture = torch.nn.functional.avg_pool2d(fine, 3, 1)
        assert noise_level(texture) > 0.02 and not is_noise(texture, noise_level(texture))
        assert computed(model, x=texture).item() == 0
    data = model.SerializeToString()
    assert b"ddfm image fusion" in data  # by which it is known as ours
    assert b".py" not in data


def test_sums_over_an_image_are_computed_line_by_line():
    """A runtime that adds number by number loses digits of float32."""

    class Means(torch.nn.Module):
        def forward(self, x):
            return x.mean(dim=(1, 2, 3), keepdim=True) + x.sum(dim=(2, 3), keepdim=True)

    image = torch.rand(1, 1, 40, 64)
    model = onnx_of(Graph(Means(), {"x": image}, "y", 1, {}), "means")
    axes = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    reduced = [node for node in model.graph.node if node.op_type.startswith("Reduce")]
    assert len(reduced) == 5
    assert all(axes[node.input[1]].size == 1 for node in reduced)
    assert set(axes) <= {name for node in model.graph.node for name in node.input}
    assert torch.allclose(computed(model, x=image), Means()(image), rtol=1e-5)


def test_the_default_likelihood_is_the_same_with_the_operations_of_a_graph(monkeypatch):
    """By matrix products instead of FFTs, and on its grid of means."""
    torch.manual_seed(1)
    smooth = [torch.nn.functional.interpolate(torch.rand(1, 1, 9, 12), (90, 132), mode="bicubic")]
    smooth.append(smooth[0].flip(-1) * 0.7)
    pair = [(2 * x - 1).clamp(-1, 1) for x in smooth]

    def fused():
        likelihood = EvidenceLikelihood(*pair)
        f = likelihood.first_guess()
        return likelihood(likelihood(f))

    expected = fused()
    asked = []
    for module in (poisson, regions):
        monkeypatch.setattr(module, "exporting", lambda: asked.append(1) or True)
    assert (fused() - expected).abs().max() < 1e-3
    assert asked


@pytest.mark.parametrize("task", ["ir-visible", "medical", "multi-exposure", "multi-focus"])
def test_graphs_of_a_task_agree_with_ddfm(prior, task):
    a, b = (np.random.default_rng(k).integers(0, 256, (6, 8), np.uint8) for k in (0, 1))
    size = (64, 48)
    a, b = (np.asarray(Image.fromarray(x).resize(size, Image.Resampling.BICUBIC)) for x in (a, b))
    planes = [torch.from_numpy(x / np.float32(255))[None, None] for x in (a, b)]
    with torch.no_grad():
        fused = make_graph("default", prior, task).module(*planes)
        toned = make_graph("tone", prior, task).module(fused)[0, 0].numpy()
    how = {"task": task, "dtype": "float32", "device": "cpu", "clean": math.inf}
    np.testing.assert_allclose(toned, ddfm.fuse(a, b, **how).picture.pixels[..., 0], atol=1e-5)


def test_the_default_likelihood_can_be_traced_for_images_of_every_size(prior):
    """One step, which is quick: nothing in it depends on what is in the pictures, or their size."""
    graph = make_graph("default", prior)
    graph.module.config = replace(graph.module.config, steps=1)
    how = {"dynamic_shapes": dynamic_shapes(graph), "strict": False}
    program = torch.export.export(graph.module, tuple(graph.inputs.values()), **how)
    assert any("while_loop" in str(node.target) for node in program.graph.nodes)


def test_means_over_the_coarse_grid_are_those_of_areas():
    x = torch.rand(1, 2, 37, 50)
    for size in ((5, 9), (37, 50), (12, 7)):
        rows, columns = (regions._means(n, m, x) for n, m in zip((37, 50), size, strict=True))
        expected = torch.nn.functional.interpolate(x, size=size, mode="area")
        assert torch.allclose(rows @ x @ columns.mT, expected, atol=1e-6)


def test_cosines_are_the_transform():
    x = torch.rand(2, 3, 21, dtype=torch.float64)
    expected = scipy.fft.dct(x.numpy(), norm="ortho")
    assert np.allclose(x @ poisson._cosines(21, x).mT, expected, atol=1e-12)


def test_a_loop_is_exported_as_a_loop():
    class Doubled(torch.nn.Module):
        def forward(self, x):
            return repeated(lambda y: (2 * y,), (x,), 10)[0] + median(x)

    x = torch.tensor([[3.0, 1.0, 2.0, 5.0]])
    program = torch.export.export(Doubled(), (x,), strict=False)
    assert any("while_loop" in str(node.target) for node in program.graph.nodes)
    expected = 1024 * x + 2
    assert torch.equal(program.module()(x), expected)
    assert torch.equal(Doubled()(x), expected)


def test_impossible_exports_are_refused(tmp_path):
    refused(ddfm_run("export", "defualt"), "did you mean default")
    refused(ddfm_run("export", "tone", "--prior", "gaussian"), "--prior is for dmfuse and prior")
    refused(
        ddfm_run("export", "prior", "--prior", "gaussian", "-o", tmp_path / "p.onnx"), "exported"
    )
    for graph, task, words in (
        ("noise", "medical", "does not depend on the task"),
        ("tone", "x", "task"),
    ):
        refused(ddfm_run("export", graph, "--task", task, "-o", tmp_path / "p.onnx"), words)
