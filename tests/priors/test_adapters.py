"""Models of other libraries as priors, compared with those libraries."""

from __future__ import annotations

import json
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import ddfm.priors.load
from ddfm.errors import DdfmError, MissingExtra
from ddfm.fuser import Fuser
from ddfm.priors import Prior, load_prior
from ddfm.priors.gaussian import GaussianPrior
from ddfm.priors.schedule import alphas_bar
from ddfm.priors.tiled import Tiled
from ddfm.priors.unet import UNet, UNetConfig
from scenes import stirred

T = torch.tensor([7, 600])
WEIGHTS = "diffusion_pytorch_model.bin"


def noisy(channels: int = 3, size: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, channels, size, size, generator=generator)


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-4) -> bool:
    return bool((found - expected).abs().max() < tolerance * expected.abs().max())


@pytest.fixture(scope="module")
def diffusers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def unet(diffusers):
    return stirred(small(diffusers))


@pytest.fixture(scope="module")
def library():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("guided_diffusion.script_util")


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a folder must not need the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


def small(diffusers, **more):
    options = dict(
        sample_size=16,
        in_channels=3,
        out_channels=3,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=8,
    )
    return diffusers.UNet2DModel(**options | more)


class TestDiffusers:
    @pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
    @pytest.mark.parametrize("scheduler", ["DDPMScheduler", "DDIMScheduler"])
    def test_x0_is_that_of_the_scheduler(self, diffusers, unet, scheduler, kind):
        scheduler = getattr(diffusers, scheduler)(prediction_type=kind, clip_sample=False)
        prior = load_prior(unet, scheduler=scheduler)
        assert (prior.channels, prior.multiple, len(prior.alphas_bar)) == (3, 2, 1000)
        x = noisy()
        scheduler.set_timesteps(1000)
        with torch.no_grad():
            found = prior(x, T)
            for i, t in enumerate(T):
                step = scheduler.step(unet(x, t).sample, t, x)
                assert close(found[i], step.pred_original_sample[i])

    @pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
    def test_a_network_of_ones_own_may_have_a_scheduler(self, diffusers, kind):
        scheduler = diffusers.DDPMScheduler(
            beta_schedule="scaled_linear", prediction_type=kind, clip_sample=False
        )
        network = stirred(nn.Conv2d(3, 3, 3, padding=1))
        prior = load_prior(lambda x, t: network(x), scheduler=scheduler, channels=3)
        x = noisy()
        with torch.no_grad():
            found = prior(x, T)
            for i, t in enumerate(T):
                step = scheduler.step(network(x[i]), t, x[i])
                assert close(found[i], step.pred_original_sample)

    def test_a_scheduler_and_another_schedule_are_refused(self, diffusers):
        given = {"scheduler": diffusers.DDPMScheduler(), "channels": 3}
        for key, value in {"schedule": "cosine", "T": 500}.items():
            with pytest.raises(DdfmError, match=f"a scheduler, which defines {key}; leave out"):
                load_prior(lambda x, t: x, **{key: value}, **given)
        with pytest.raises(DdfmError, match="the network predicts \"eps\", not 'v'"):
            load_prior(lambda x, t: x, kind="v", **given)

    def test_a_pipeline_brings_its_own_schedule(self, diffusers, unet):
        scheduler = diffusers.DDPMScheduler(
            num_train_timesteps=50, beta_schedule="squaredcos_cap_v2", prediction_type="sample"
        )
        prior = load_prior(diffusers.DDPMPipeline(unet, scheduler))
        assert torch.allclose(prior.alphas_bar.float(), alphas_bar("cosine", 50).float(), rtol=1e-4)
        assert prior.kind == "x0"
        assert load_prior((unet, scheduler)).kind == "x0"
        assert load_prior((unet, scheduler), kind="x0").kind == "x0"
        with pytest.raises(DdfmError, match="by prediction_type .* predicts \"x0\", not 'eps'"):
            load_prior((unet, scheduler), kind="eps")

    @pytest.mark.parametrize(
        ("more", "tile"),
        [
            ({"sample_size": 16}, 128),
            ({"sample_size": (96, 80)}, 192),
            ({"sample_size": None}, None),
            ({"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2}, 128),
            (
                {
                    "down_block_types": ["DownBlock2D"] * 2,
                    "up_block_types": ["UpBlock2D"] * 2,
                    "add_attention": False,
                },
                None,
            ),
        ],
    )
    def test_attention_limits_tiles_to_twice_the_trained_size(self, diffusers, more, tile):
        prior = load_prior(small(diffusers, **more), scheduler=diffusers.DDPMScheduler())
        assert prior.tile == tile
        large = Tiled.if_needed(prior, None, (96, 400))
        assert getattr(large, "prior", large) is prior and large.tile == tile
        assert Tiled.if_needed(prior, 0, (96, 400)) is prior
        assert Tiled.if_needed(prior, 256, (96, 400)).tile == 256

    def test_a_saved_pipeline_is_loaded_from_its_folder(self, diffusers, unet, tmp_path, offline):
        scheduler = diffusers.DDPMScheduler(prediction_type="v_prediction", beta_end=0.01)
        expected = load_prior(unet, scheduler=scheduler)(noisy(), T).detach()
        for safe in (True, False):
            folder = tmp_path / f"model-{safe}"
            diffusers.DDPMPipeline(unet, scheduler).save_pretrained(folder, safe_serialization=safe)
            prior = load_prior(folder)
            assert (prior.name, prior.kind) == (folder.name, "v")
            assert close(prior(noisy(), T).detach(), expected)
            assert load_prior(str(folder), dtype=torch.float64).dtype == torch.float64

    def test_a_flat_folder_with_old_names_is_loaded(self, diffusers, unet, tmp_path, offline):
        """In the layout of the models google/ddpm-* on the hub."""
        unet.save_config(tmp_path)
        diffusers.DDPMScheduler().save_config(tmp_path)
        old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
        state = {}
        for key, value in unet.state_dict().items():
            for new, name in old.items():
                key = key.replace(f".{new}.", f".{name}.")
            state[key] = value
        assert any("proj_attn" in key for key in state)
        torch.save(state, tmp_path / WEIGHTS)
        expected = load_prior(unet, scheduler=diffusers.DDPMScheduler())(noisy(), T).detach()
        assert close(load_prior(tmp_path)(noisy(), T).detach(), expected)

    def test_a_network_in_half_precision_gets_half_precision(self, diffusers):
        unet = stirred(small(diffusers))
        scheduler = diffusers.DDPMScheduler()
        expected = load_prior(unet, scheduler=scheduler)(noisy(), T).detach()
        prior = load_prior(unet.to(torch.bfloat16), scheduler=scheduler)
        found = prior(noisy(), T).detach()
        assert found.dtype == torch.float32
        assert close(found, expected, 0.1)

    def test_what_is_no_prior_is_refused(self, diffusers, unet, tmp_path):
        scheduler = diffusers.DDPMScheduler()
        latent = small(diffusers, in_channels=4, out_channels=4)
        conditioned = small(diffusers, num_class_embeds=10)
        flow = diffusers.FlowMatchEulerDiscreteScheduler()
        for x, process, message in (
            (unet, None, "pass its scheduler to ddfm.load_prior"),
            (latent, scheduler, "takes 4 channels"),
            (conditioned, scheduler, "class conditioning"),
            (scheduler, scheduler, "needs a UNet2DModel"),
            (unet, flow, "FlowMatchEulerDiscreteScheduler"),
        ):
            with pytest.raises(DdfmError, match=message):
                load_prior(x, scheduler=process)
        with pytest.raises(DdfmError, match="takes no num_heads"):
            load_prior(unet, scheduler=scheduler, num_heads=4)

    def test_a_folder_that_lacks_a_part_is_refused_until_it_is_complete(
        self, diffusers, unet, tmp_path
    ):
        with pytest.raises(DdfmError, match="neither config.json nor unet"):
            load_prior(tmp_path)
        unet.save_config(tmp_path)
        with pytest.raises(DdfmError, match="has no weights"):
            load_prior(tmp_path)
        torch.save(unet.state_dict(), tmp_path / WEIGHTS)
        with pytest.raises(DdfmError, match="no scheduler_config.json; copy that of the training"):
            load_prior(tmp_path)
        diffusers.DDPMScheduler().save_config(tmp_path)
        assert load_prior(tmp_path).channels == 3

    @pytest.fixture
    def complete(self, diffusers, unet, tmp_path) -> Path:
        """A folder of a model, its scheduler and its weights."""
        unet.save_config(tmp_path)
        diffusers.DDPMScheduler().save_config(tmp_path)
        torch.save(unet.state_dict(), tmp_path / WEIGHTS)
        return tmp_path

    def test_bad_weights_are_refused_with_the_reason(self, complete):
        weights = complete / WEIGHTS
        weights.write_bytes(weights.read_bytes()[:5000])
        with pytest.raises(DdfmError, match="damaged"):
            load_prior(complete)
        torch.save({"a": pytest.raises}, weights)
        with pytest.raises(DdfmError, match="refused"):
            load_prior(complete)
        torch.save({"conv_in.weight": torch.zeros(3)}, weights)
        with pytest.raises(DdfmError, match="is for another network: its config.json asks for"):
            load_prior(complete)

    @pytest.mark.parametrize(
        ("key", "value", "reason"),
        [
            ("layers_per_block", 10**6, "layers_per_block of .* is invalid"),
            ("block_out_channels", [32] * 1000, "block_out_channels of .* is invalid"),
            ("attention_head_dim", 0, "attention_head_dim of .* is invalid"),
            ("norm_num_groups", -4, "norm_num_groups of .* is invalid"),
            ("act_fn", "nonsense", "cannot load the model"),
            ("_class_name", "VQModel", "holds a VQModel"),
        ],
    )
    def test_bad_settings_are_refused_by_name(self, complete, key, value, reason):
        config = json.loads((complete / "config.json").read_text())
        (complete / "config.json").write_text(json.dumps(config | {key: value}))
        with pytest.raises(DdfmError, match=reason) as caught:
            load_prior(complete)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "reason"), [("[" * 100_000, "is nested too deeply"), ("{", "is not JSON")]
    )
    def test_a_damaged_config_is_refused(self, complete, text, reason):
        (complete / "config.json").write_text(text)
        with pytest.raises(DdfmError, match=f"config.json {reason}"):
            load_prior(complete)

    def test_without_the_library_the_error_names_the_extra(
        self, diffusers, unet, tmp_path, monkeypatch
    ):
        diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler()).save_pretrained(tmp_path)
        monkeypatch.setitem(sys.modules, "diffusers", None)
        with pytest.raises(MissingExtra, match=r"ddfm\[diffusers\]"):
            load_prior(tmp_path)


class TestGuidedDiffusion:
    def both(self, library, **options):
        """A small model and its process, made as guided-diffusion's own scripts make them."""
        defaults = library.model_and_diffusion_defaults()
        small = dict(image_size=16, num_channels=32, num_res_blocks=1, channel_mult="1,2")
        small |= dict(attention_resolutions="8", num_heads=2)
        model, diffusion = library.create_model_and_diffusion(**defaults | small | options)
        return stirred(model), diffusion

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"learn_sigma": True, "num_head_channels": 16, "resblock_updown": True},
            {"predict_xstart": True, "noise_schedule": "cosine", "use_new_attention_order": True},
            {"diffusion_steps": 4000, "rescale_timesteps": True},
            {"timestep_respacing": "ddim50"},
            {"timestep_respacing": "10,15,20", "diffusion_steps": 2000, "rescale_timesteps": True},
        ],
        ids=lambda options: ", ".join(options) or "defaults",
    )
    def test_x0_is_that_of_the_process(self, library, options):
        model, diffusion = self.both(library, **options)
        prior = load_prior(model, diffusion=diffusion)
        steps = diffusion.num_timesteps
        assert prior.alphas_bar.tolist() == pytest.approx(diffusion.alphas_cumprod.tolist())
        assert (prior.channels, prior.multiple) == (3, 2)
        x, t = noisy(), torch.tensor([1, steps - 2])
        with torch.no_grad():
            expected = diffusion.p_mean_variance(model, x, t, clip_denoised=False)["pred_xstart"]
            assert close(prior(x, t), expected)
            assert prior.features(x, t)[0].shape == (2, 32, 16, 16)

    def test_other_models_are_used_unchanged(self, library):
        """For example, a stand-in for guided-diffusion's own."""
        model, diffusion = self.both(library, timestep_respacing="20")

        class Own(nn.Module):
            in_channels = 3

            def forward(self, x, t):
                assert t.dtype == torch.int64 and set(t.tolist()) <= set(diffusion.timestep_map)
                return model(x, t)

        x, t = noisy(), torch.tensor([1, 19])
        with torch.no_grad():
            expected = load_prior((model, diffusion))(x, t)
            assert close(load_prior((Own(), diffusion))(x, t), expected)

    def test_the_weights_are_shared_and_the_dtype_can_be_chosen(self, library):
        model, diffusion = self.both(library)
        prior = load_prior((model, diffusion))
        weight = next(model.parameters())
        assert next(prior.network.parameters()).data_ptr() == weight.data_ptr()
        with torch.no_grad():
            expected = prior(noisy(), T)
            assert close(prior.to(dtype=torch.bfloat16)(noisy(), T), expected, 0.1)

    def test_what_is_no_prior_is_refused(self, library):
        model, diffusion = self.both(library, class_cond=True)
        with pytest.raises(DdfmError, match="class conditioning"):
            load_prior((model, diffusion))
        model, diffusion = self.both(library)
        with pytest.raises(DdfmError, match="by model_mean_type of the process, .* not 'v'"):
            load_prior((model, diffusion), kind="v")
        diffusion.model_mean_type = type(diffusion.model_mean_type).PREVIOUS_X
        with pytest.raises(DdfmError, match="PREVIOUS_X"):
            load_prior((model, diffusion))


class TestCallables:
    ABAR = alphas_bar("linear")

    def truth(self, kind):
        """What a perfect network of this kind returns if x_0 = 0.3 everywhere."""
        abar = self.ABAR[T].view(-1, 1, 1, 1).float()
        x0 = torch.full((2, 1, 4, 4), 0.3)
        eps = noisy(1, 4)
        x_t = abar.sqrt() * x0 + (1 - abar).sqrt() * eps
        v = abar.sqrt() * eps - (1 - abar).sqrt() * x0
        return x_t, x0, {"eps": eps, "x0": x0, "v": v}[kind]

    @pytest.mark.parametrize("kind", ["eps", "x0", "v"])
    def test_every_kind_gives_x0(self, kind):
        x_t, x0, answer = self.truth(kind)
        prior = load_prior(lambda x, t: answer, kind=kind, schedule="linear", T=1000, channels=1)
        assert torch.allclose(prior(x_t, T), x0, atol=1e-4)
        assert (prior.channels, prior.multiple) == (1, 1)
        twice = torch.cat([answer, 9 * answer], dim=1)
        prior = load_prior(lambda x, t: twice, kind=kind, alphas_bar=self.ABAR, channels=1)
        assert torch.allclose(prior(x_t, T), x0, atol=1e-4)

    def test_the_error_names_what_is_missing(self):
        with pytest.raises(
            DdfmError, match="T, channels; pass them to ddfm.load_prior, for .*channels=3"
        ):
            load_prior(lambda x, t: x)
        with pytest.raises(DdfmError, match="does not specify channels;"):
            load_prior(lambda x, t: x, kind="eps", betas=[0.1, 0.2])
        with pytest.raises(DdfmError, match="did you mean channels"):
            load_prior(lambda x, t: x, kind="eps", betas=[0.1], chanels=1)
        with pytest.raises(DdfmError, match="unknown setting 'num_heads'"):
            load_prior(lambda x, t: x, kind="eps", betas=[0.1], channels=1, num_heads=1)

    def test_our_own_network_is_used_unchanged(self):
        network = UNet(
            UNetConfig(1, 1, 32, (1, 2), 1, attention=(), num_head_channels=32, patch=2)
        ).eval()
        prior = load_prior(network, kind="x0", schedule="cosine", T=1000, name="mine")
        assert (prior.name, prior.multiple, prior.channels) == ("mine", 4, 1)
        assert len(prior.features(noisy(1), T)) == 2

    def test_a_module_is_moved_and_called_in_evaluation_but_not_changed(self):
        module = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(0.9), nn.BatchNorm2d(3).eval())

        class Network(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = module

            def forward(self, x, t):
                return self.inner(x)

        network = Network()
        prior = load_prior(
            network, kind="x0", schedule="linear", T=10**3, channels=3, dtype=torch.float64
        )
        assert module[0].weight.dtype == torch.float64
        assert torch.equal(prior(noisy(), T), prior(noisy(), T))
        assert network.training and [part.training for part in module] == [True, True, False]


def test_dropout_stays_off_until_the_last_thread_has_left():
    barrier, seen = threading.Barrier(2, timeout=20), []

    class Slow(nn.Module):
        def forward(self, x, t):
            barrier.wait()  # both threads are within
            if len(x) == 2:
                first.join(20)  # the other has left
            seen.append(self.training)
            return x

    network = Slow()
    prior = load_prior(network, kind="x0", schedule="linear", T=10**3, channels=3)
    first = threading.Thread(target=prior, args=(torch.zeros(1, 3, 8, 8), torch.tensor([5])))
    first.start()
    prior(torch.zeros(2, 3, 8, 8), torch.tensor([5, 5]))
    assert seen == [False, False] and network.training


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schedule": "cosine", "betas": [0.1, 0.2]}, "has both schedule and betas"),
        ({"betas": [0.1, 0.2], "alphas_bar": [0.9, 0.5]}, "has both betas and alphas_bar"),
        ({"betas": [0.1, 0.2], "T": 1000}, "betas of the call has 2 timesteps, but T is 1000"),
        ({"schedule": [0.1, 0.2]}, "a name such as linear \\(numbers are betas or alphas_bar\\)"),
    ],
)
def test_a_schedule_is_given_in_one_way(given, message):
    """Otherwise one of them would be ignored."""
    with pytest.raises(DdfmError, match=message):
        load_prior(lambda x, t: x, kind="eps", channels=1, **given)


@pytest.mark.parametrize(
    "betas",
    [
        np.array([0.3, 0.2, 0.1])[::-1],
        torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64, requires_grad=True) * 1,
        [0.1, 0.2, 0.3],
    ],
    ids=["reversed view", "with gradient", "list"],
)
def test_a_schedule_may_be_any_vector(betas):
    prior = load_prior(lambda x, t: x, kind="eps", channels=1, betas=betas)
    assert torch.allclose(prior.alphas_bar, torch.tensor([0.9, 0.72, 0.504]).double())
    Fuser(prior, likelihood="paper", steps=2, device="cpu", dtype="bfloat16")  # a copy is made


def test_devices_and_dtypes_have_the_names_that_a_fuser_takes():
    settings = dict(kind="x0", schedule="linear", T=1000, channels=1)
    prior = load_prior(nn.Conv2d(1, 1, 1), device="cpu", dtype="bfloat16", **settings)
    assert prior.dtype == torch.bfloat16 and prior.function.weight.dtype == torch.bfloat16
    assert load_prior(prior, device="auto", dtype="auto").dtype == torch.float32
    with pytest.raises(DdfmError, match="unknown dtype 'bfloat'; did you mean bfloat16"):
        load_prior(prior, dtype="bfloat")
    with pytest.raises(DdfmError, match="there is no device 'gpu' here"):
        load_prior(prior, device="gpu")


def test_a_prior_that_is_passed_is_not_changed():
    prior = GaussianPrior()
    assert load_prior(prior) is prior
    for other in ("num_heads", "name", "scheduler", "diffusion"):
        with pytest.raises(DdfmError, match=f"a prior object takes no {other}: it has its own"):
            load_prior(prior, **{other: 4 if other != "name" else "mine"})


@pytest.mark.parametrize("multiple", [0, -1, 2.5])
def test_sizes_are_multiples_of_a_whole_number(multiple):
    told = {"kind": "eps", "channels": 1, "schedule": "linear", "T": 1000}
    with pytest.raises(DdfmError, match="multiple of a prior must be a whole number of at least"):
        load_prior(lambda x, t: x, multiple=multiple, **told)


def test_the_gaussian_prior_has_a_name():
    prior = load_prior("gaussian", channels=3, std=0.2, schedule="cosine", T=100)
    assert isinstance(prior, GaussianPrior) and isinstance(prior, Prior)
    assert (prior.channels, prior.std, len(prior.alphas_bar)) == (3, 0.2, 100)


def test_names_are_downloaded_on_first_use(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setenv("DDFM_CACHE", str(tmp_path))

    def get(name):
        asked.append(name)
        return tmp_path / "nothing.pt"

    monkeypatch.setattr(ddfm.priors.load.catalog, "get", get)
    with pytest.raises(DdfmError, match="no such file"):
        load_prior("256x256_diffusion_uncond")
    assert asked == ["openai-256"]


@pytest.mark.parametrize("x", [3, None, [1, 2]])
def test_what_cannot_be_a_prior_is_refused(x):
    with pytest.raises(DdfmError, match="cannot make a prior"):
        load_prior(x)
