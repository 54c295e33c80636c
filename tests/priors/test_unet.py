"""Our U-Net against the original one (PyPI: guided-diffusion-sdk): keys, shapes and outputs."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import ddfm
from ddfm.priors.denoise import denoise
from ddfm.priors.layout import build, infer_settings
from ddfm.priors.unet import GroupNorm, UNet, UNetConfig, conv_of_doubled
from ddfm.training.yardstick import noisy, psnr
from scenes import stirred

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    original = pytest.importorskip("guided_diffusion.unet")

SMALL = dict(
    in_channels=3, out_channels=6, model_channels=32, channel_mult=(1, 2), num_res_blocks=1
)
LAYOUTS = {
    "adm": dict(
        channel_mult=(1, 1, 2),
        num_res_blocks=2,
        attention=(2, 4),
        num_head_channels=16,
        use_scale_shift_norm=True,
        resblock_updown=True,
    ),
    "adm, half width first": dict(
        model_channels=64,
        channel_mult=(0.5, 1, 1),
        attention=(4,),
        num_head_channels=32,
        use_scale_shift_norm=True,
        resblock_updown=True,
    ),
    "new attention order": dict(
        attention=(1, 2), num_heads=4, use_new_attention_order=True, use_scale_shift_norm=True
    ),
    "legacy attention order, fixed variance": dict(out_channels=3, attention=(1,), num_heads=2),
    "improved-diffusion": dict(
        channel_mult=(1, 2, 2),
        num_res_blocks=3,
        attention=(2, 4),
        num_heads=4,
        use_scale_shift_norm=True,
    ),
    "more heads on the way up": dict(attention=(2,), num_heads=2, num_heads_upsample=8),
    "no learned resampling": dict(channel_mult=(1, 2, 3), conv_resample=False, num_heads=1),
    "one channel": dict(in_channels=1, out_channels=2, attention=(2,), num_head_channels=8),
    "one level": dict(in_channels=1, out_channels=1, channel_mult=(2,), num_res_blocks=3),
}


def pair(options: dict) -> tuple[UNetConfig, torch.nn.Module]:
    """ddfm's configuration and the original network with the same layout."""
    ours = dict(
        attention=(),
        num_heads=1,
        num_head_channels=-1,
        use_scale_shift_norm=False,
        resblock_updown=False,
    )
    ours = {**ours, **SMALL, **options}
    theirs = {"image_size": 32, **ours, "attention_resolutions": ours["attention"]}
    theirs.pop("attention")
    return UNetConfig(**ours), original.UNetModel(**theirs).eval()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_weights_give_the_same_output(layout):
    config, theirs = pair(LAYOUTS[layout])
    stirred(theirs)
    ours = UNet(config).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    size = 2 * config.multiple
    x = torch.randn(
        2, config.in_channels, size, 2 * size, generator=torch.Generator().manual_seed(1)
    )
    t = torch.tensor([3, 721])
    with torch.no_grad():
        expected, found = theirs(x, t), ours(x, t)
    assert expected.abs().max() > 0.1
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_is_read_from_the_shapes(layout):
    """Settings that shapes do not imply are given; the others are inferred."""
    config, theirs = pair(LAYOUTS[layout])
    state = theirs.state_dict()
    untold = ("num_heads", "num_head_channels", "num_heads_upsample", "use_new_attention_order")
    told = infer_settings(state, {key: getattr(config, key) for key in untold}, "it")
    found = UNetConfig(**told)
    irrelevant = {}
    if config.resblock_updown or len(config.channel_mult) == 1:
        irrelevant = {"conv_resample": True, "resblock_updown": config.resblock_updown}
    assert UNetConfig(**told | irrelevant) == config
    assert build(state, told, "it").config == found


@pytest.mark.parametrize(
    ("mult", "attention", "parameters"),
    [
        ((1, 1, 2, 2, 4, 4), (8, 16, 32), 552_814_086),
        ((0.5, 1, 1, 2, 2, 4, 4), (16, 32, 64), 557_973_638),
    ],
    ids=["256x256_diffusion_uncond", "512x512"],
)
def test_the_network_has_the_keys_and_shapes_of_openais(mult, attention, parameters):
    """On the meta device, which holds shapes and no numbers."""
    with torch.device("meta"):
        theirs = original.UNetModel(
            image_size=256,
            in_channels=3,
            model_channels=256,
            out_channels=6,
            num_res_blocks=2,
            attention_resolutions=attention,
            channel_mult=mult,
            num_head_channels=64,
            use_scale_shift_norm=True,
            resblock_updown=True,
        )
        ours = UNet(UNetConfig(channel_mult=mult, attention=attention))
    shapes = {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    assert {key: tensor.shape for key, tensor in ours.state_dict().items()} == shapes
    assert list(ours.state_dict()) == list(shapes)
    assert sum(weight.numel() for weight in ours.parameters()) == parameters
    told = infer_settings(theirs.state_dict(), {}, "it")
    assert told["num_head_channels"] == 64 and told["use_new_attention_order"] is False
    assert (told["kind"], told["schedule"], told["T"]) == ("eps", "linear", 1000)
    assert told["channel_mult"] == mult and told["attention"] == attention


@pytest.mark.parametrize("updown", [False, True])
def test_scales_finer_than_wanted_are_left_out_and_not_computed(updown):
    config = UNetConfig(
        1, 1, 32, (1, 2, 2), 1, attention=(), resblock_updown=updown, mid_attention=False
    )
    network = UNet(config).eval()
    x, t = torch.randn(1, 1, 16, 24), torch.tensor([7])
    every = network.features(x, t)
    assert [tuple(f.shape[1:]) for f in every] == [(32, 16, 24), (64, 8, 12), (64, 4, 6)]
    calls = []
    network.output_blocks[-1].register_forward_hook(lambda *_: calls.append(1))
    network.output_blocks[-1][0].register_forward_hook(lambda *_: calls.append(1))
    coarser = network.features(x, t, finest=2)
    assert not calls and len(coarser) == 2
    assert all(torch.equal(a, b) for a, b in zip(coarser, every[1:], strict=True))
    assert len(network.features(x, t, finest=64)) == 1  # the coarsest in any case


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_every_image_of_a_batch_is_modulated_by_its_own_numbers(dtype):
    norm = GroupNorm(4, 8).to(dtype)
    stirred(norm)
    x, scale, shift = torch.randn(3, 8, 5, 7), torch.randn(3, 8), torch.randn(3, 8)
    x, scale, shift = (part.to(dtype) for part in (x, scale, shift))
    expected = norm(x) * (1 + scale[..., None, None]) + shift[..., None, None]
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    torch.testing.assert_close(norm.modulated(x, scale, shift), expected, rtol=0, atol=tolerance)
    alone = [norm.modulated(*(part[k : k + 1] for part in (x, scale, shift))) for k in range(3)]
    torch.testing.assert_close(torch.cat(alone), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (6, 4)])
def test_a_convolution_of_doubled_pixels_is_done_before_they_are_doubled(size):
    conv = torch.nn.Conv2d(3, 5, 3, padding=1)
    x = torch.randn(2, 3, *size)
    expected = conv(torch.nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))
    torch.testing.assert_close(conv_of_doubled(conv, x), expected, rtol=0, atol=1e-6)


def test_the_network_keeps_to_one_layout():
    """Convolutions in channels-last layout take two thirds of the time, if all layers keep it.

    Only tensors of several channels are checked; with one channel, both layouts are the same.
    """
    config = UNetConfig(1, 1, 32, (1, 2, 3), 1, attention=(), resblock_updown=False)
    network = UNet(config).eval()
    seen = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda _, given, made: seen.extend([given[0], made]))
    with torch.no_grad():
        network(torch.randn(1, 1, 16, 24), torch.tensor([7]))
    maps = [x for x in seen if x.shape[1] > 1]
    assert len(maps) > 40
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in maps)


def test_bfloat16_denoises_as_well_as_float32():
    """The shipped prior on a picture of edges and texture: within 0.02 dB at every noise level."""
    rows, columns = np.mgrid[:96, :112] / 8
    picture = np.sin(rows * columns / 4) / 2 + (rows > columns) * 0.4 - 0.2
    clean = torch.from_numpy(picture).float()[None, None]
    float32 = ddfm.load_prior("default", device="cpu")
    bfloat16 = float32.at(dtype=torch.bfloat16)
    for levels in (15, 25, 50):
        sigma = 2 * levels / 255
        x = noisy(clean, sigma, 0)
        a, b = (psnr(denoise(prior, x, sigma), clean) for prior in (float32, bfloat16))
        assert a != b and abs(a - b) < 0.02
