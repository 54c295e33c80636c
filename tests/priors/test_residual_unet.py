"""ddfm's own network: what its weights imply, and what a pixel of its result depends on."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from ddfm import DdfmError, load_prior
from ddfm.priors.checkpoints import save_checkpoint
from ddfm.priors.residual_unet import ResidualUNet, ResidualUNetConfig
from ddfm.priors.schedule import alpha_sigma
from scenes import stirred

DIFFUSION = {"kind": "v", "schedule": "linear", "T": 1000}
SMALL = ResidualUNetConfig(stem=4, widths=(8, 12), depths=(1, 2), embed=16)


@pytest.fixture
def network() -> ResidualUNet:
    return stirred(ResidualUNet(SMALL))


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        ResidualUNetConfig(3, stem=2, widths=(4,), depths=(3,), embed=6),
        ResidualUNetConfig(stem=8, widths=(4, 6, 8), depths=(2, 1, 1), embed=8),
    ],
)
def test_the_weights_imply_the_architecture(tmp_path, config):
    network = stirred(ResidualUNet(config))
    save_checkpoint(tmp_path / "weights.safetensors", network.state_dict(), DIFFUSION)
    prior = load_prior(tmp_path / "weights.safetensors")
    assert prior.network.config == config
    assert (prior.channels, prior.multiple) == (config.in_channels, 2 ** len(config.widths))
    x = torch.randn(2, config.in_channels, 16, 24)
    t = torch.tensor([10, 700])
    assert torch.equal(prior.network(x, t), network(x, t))
    prior.save_pretrained(tmp_path / "again")
    again = load_prior(tmp_path / "again")
    assert torch.equal(again(x, t), prior(x, t))


def test_a_callable_of_this_kind_brings_its_channels_and_multiple(network):
    prior = load_prior(network, **DIFFUSION)
    assert (prior.channels, prior.multiple) == (1, 4)
    with pytest.raises(DdfmError, match="channels"):
        load_prior(network, channels=1, **DIFFUSION)


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("inward.weight", None, "lacks inward.weight"),
        ("encoder.0.0.first.weight", None, "is not complete"),
        ("stem.weight", (4, 2, 3, 3), "takes 2 channels where a prior has 1 or 3"),
        ("encoder.1.1.second.weight", (12, 8, 3, 3), "has the shape (12, 8, 3, 3)"),
        ("encoder.7.0.first.weight", (12, 12, 3, 3), "is not complete"),
        ("encoder.40.0.first.weight", (12, 12, 3, 3), "1 to 8 levels, but of 41"),
        ("spare", (1,), "this one has no spare"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, network, key, change, message):
    state = network.state_dict()
    state.pop(key, None)
    if change:
        state[key] = torch.zeros(change)
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, state, DIFFUSION)
    with pytest.raises(DdfmError) as caught:
        load_prior(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_settings_of_other_networks_are_refused(tmp_path, network):
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, network.state_dict(), DIFFUSION)
    with pytest.raises(DdfmError, match="has no setting num_heads"):
        load_prior(path, num_heads=4)


def test_settings_may_repeat_what_the_weights_imply(tmp_path, network):
    path = tmp_path / "weights.safetensors"
    save_checkpoint(path, network.state_dict(), DIFFUSION | {"config": asdict(network.config)})
    assert load_prior(path, in_channels=1).info["config"] == asdict(network.config)
    with pytest.raises(DdfmError, match="its weights have in_channels=1, not in_channels=3"):
        load_prior(path, in_channels=3)


def test_the_network_is_the_same_in_training_where_silu_is_that_of_pytorch():
    network, x, t = stirred(ResidualUNet(SMALL)), torch.randn(2, 1, 16, 24), torch.tensor([10, 700])
    with torch.no_grad():
        fused = network(x, t)
    assert torch.allclose(network(x, t), fused, atol=1e-5, rtol=1e-5)


def test_a_pixel_depends_on_its_surroundings_only(network):
    x = torch.randn(1, 1, 16, 160)
    other = x.clone()
    other[..., :8] += 1
    t = torch.tensor([300])
    differs = (network(x, t) != network(other, t)).any(dim=2).squeeze()
    assert differs[:8].any() and not differs[80:].any()


@pytest.mark.parametrize("period", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("contrast", [0.05, 1])
@pytest.mark.parametrize("t", [0, 10, 40, 90, 200])
def test_the_shipped_network_does_not_explode_on_regular_patterns(period, contrast, t):
    """As one does that saw only photographs; without normalisation nothing else limits it."""
    prior = load_prior("default", device="cpu")
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    tiles = [rows // period + columns // period]
    tiles += [along // period for along in (rows, columns, rows + columns, rows - columns)]
    x0 = contrast * torch.stack([2.0 * (tile % 2) - 1 for tile in tiles])[:, None]
    alpha, sigma = alpha_sigma(prior.alphas_bar, torch.tensor(t), x0)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(t))
    error = prior(alpha * x0 + sigma * noise, torch.full((len(x0),), t)) - x0
    assert float(error.square().mean().sqrt()) < 1.5 * float(sigma / alpha)


def test_scales_finer_than_wanted_are_left_out_and_not_computed(network):
    x, t = torch.randn(1, 1, 16, 24), torch.tensor([7])
    every = network.features(x, t)
    assert [tuple(f.shape[1:]) for f in every] == [(8, 8, 12), (12, 4, 6)]
    calls = []
    network.decoder[0].register_forward_hook(lambda *_: calls.append(1))
    coarser = network.features(x, t, finest=4)
    assert not calls and len(coarser) == 1 and torch.equal(coarser[0], every[1])
    assert len(network.features(x, t, finest=64)) == 1  # the coarsest in any case


def test_the_network_keeps_to_one_layout(network):
    """Convolutions in channels-last layout are faster, if all layers keep it."""
    seen = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, given, made: seen.extend([given[0], made]))
    network(torch.randn(1, 1, 16, 24), torch.tensor([7]))
    maps = [x for x in seen if x.shape[1] > 1]
    assert len(maps) > 20
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in maps)
