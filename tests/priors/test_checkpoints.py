"""Files of weights: what is read, which settings must be given, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ddfm.errors import DdfmError
from ddfm.priors import entries, load_prior
from ddfm.priors.checkpoints import read_state_dict, save_checkpoint
from ddfm.priors.load import load_checkpoint
from ddfm.priors.schedule import alphas_bar
from ddfm.priors.unet import UNet, UNetConfig
from scenes import TINY, stirred

CONFIG = UNetConfig(
    in_channels=1,
    out_channels=2,
    model_channels=32,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention=(2,),
    num_heads=4,
    num_head_channels=-1,
)
TOLD = dict(num_heads=4, use_new_attention_order=False, kind="eps", schedule="linear", T=1000)
X = torch.randn(2, 1, 8, 12, generator=torch.Generator().manual_seed(5))
T = torch.tensor([10, 700])


@pytest.fixture(scope="module")
def network() -> UNet:
    return stirred(UNet(CONFIG)).requires_grad_(False)


@pytest.fixture
def state(network) -> dict[str, torch.Tensor]:
    return dict(network.state_dict())


def expected(network: UNet, x: torch.Tensor = X) -> torch.Tensor:
    """x_0 by the definition of x_t, in float64."""
    abar = alphas_bar("linear")[T].view(-1, 1, 1, 1)
    with torch.no_grad():
        eps = network(x, T)[:, :1].double()
    return (x.double() - (1 - abar).sqrt() * eps) / abar.sqrt()


def error_of(path: Path, **config) -> str:
    with pytest.raises(DdfmError) as caught:
        load_checkpoint(path, **config)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".safetensors"])
def test_a_checkpoint_of_every_kind_is_loaded(tmp_path, network, state, suffix):
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    prior = load_prior(path, **TOLD)
    assert (prior.channels, prior.multiple, prior.name) == (1, 2, "weights")
    assert torch.equal(prior.alphas_bar, alphas_bar("linear"))
    truth = expected(network)
    assert (prior(X, T) - truth).abs().max() < 1e-4 * truth.abs().max()
    assert json.loads(json.dumps(prior.info))["config"]["model_channels"] == 32
    assert [f.shape[1] for f in prior.features(X, T)] == [32, 64]


def test_new_weights_under_an_old_name_have_another_fingerprint(tmp_path, state):
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    prior = load_prior(path, **TOLD)
    assert prior.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()
    assert prior.to(dtype=torch.bfloat16).fingerprint == prior.fingerprint
    changed = state | {"out.2.bias": state["out.2.bias"] + 0.01}
    save_file(changed, path)
    assert load_prior(path, **TOLD).fingerprint != prior.fingerprint


def test_a_network_in_memory_has_a_fingerprint_and_a_function_has_none():
    settings = dict(kind="eps", schedule="linear", T=1000, channels=1)
    network = torch.nn.Conv2d(1, 1, 3, padding=1)
    prior = load_prior(network, **settings)
    before = prior.fingerprint
    assert before == load_prior(network, **settings).fingerprint
    with torch.no_grad():
        network.bias += 1
    assert prior.fingerprint != before
    assert load_prior(lambda x, t: x, **settings).fingerprint is None


def test_the_old_pickle_format_is_read_too(tmp_path, state):
    torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    assert read_state_dict(tmp_path / "w.pt").keys() == state.keys()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"state": {}, "lr": 0.1}},
        lambda state: {"module." + key: value for key, value in state.items()},
        lambda state: {"model": {"module.unet." + key: value for key, value in state.items()}},
        lambda state: OrderedDict(state),
        # Weights and their average: the average counts.
        lambda state: {"model": {k: 0 * v for k, v in state.items()}, "ema": state},
        lambda state: {
            **{"net." + k: 0 * v for k, v in state.items()},
            **{"net_ema." + k: v for k, v in state.items()},
        },
        lambda state: {"ema": {"decay": 0.99, "shadow": []}, "state_dict": state},
        lambda state: {"job": {"network": state}},
    ],
)
def test_wrappers_and_prefixes_are_removed(tmp_path, state, wrap):
    torch.save(wrap(state), tmp_path / "w.pt")
    found = read_state_dict(tmp_path / "w.pt")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_converted_to_the_dtype_of_the_run(tmp_path, network, state, dtype):
    save_file({key: value.to(dtype) for key, value in state.items()}, tmp_path / "w.safetensors")
    prior = load_prior(tmp_path / "w.safetensors", **TOLD)
    assert {weight.dtype for weight in prior.network.parameters()} == {torch.float32}
    truth = expected(network)
    assert (prior(X, T) - truth).abs().max() < 0.05 * truth.abs().max()
    half = load_prior(tmp_path / "w.safetensors", dtype=torch.bfloat16, **TOLD)
    assert {weight.dtype for weight in half.network.parameters()} == {torch.bfloat16}
    assert half(X, T).dtype == torch.float32


def test_no_weights_are_initialised_before_loading(tmp_path, state, monkeypatch):
    torch.save(state, tmp_path / "w.pt")
    real = torch.nn.init.kaiming_uniform_

    def only_on_meta(tensor, *args, **kwargs):
        assert tensor.is_meta, "a layer was initialised in memory"
        return real(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", only_on_meta)
    load_prior(tmp_path / "w.pt", **TOLD)
    with pytest.raises(AssertionError, match="in memory"):
        UNet(CONFIG)


def test_settings_come_from_arguments_then_json_then_metadata(tmp_path, state):
    path = tmp_path / "w.safetensors"
    save_file(state, path, metadata={"ddfm": json.dumps({**TOLD, "T": 100, "name": "mine"})})
    prior = load_prior(path, rescale_timesteps=False)
    assert (len(prior.alphas_bar), prior.name) == (100, "mine")
    beside = {"T": 200, "rescale_timesteps": False, "licence": "CC0-1.0"}
    path.with_name("w.safetensors.json").write_text(json.dumps(beside))
    prior = load_prior(path)
    assert (len(prior.alphas_bar), prior.info["licence"]) == (200, "CC0-1.0")
    assert len(load_prior(path, T=300).alphas_bar) == 300
    assert load_prior(path, kind="v").kind == "v"


def test_flags_of_guided_diffusion_are_understood(tmp_path, state):
    torch.save(state, tmp_path / "w.pt")
    flags = {
        "noise_schedule": "cosine",
        "diffusion_steps": 4000,
        "predict_xstart": True,
        "rescale_timesteps": True,
        "num_heads": 4,
        "num_head_channels": -1,
        "num_channels": 32,
        "use_new_attention_order": False,
        "channel_mult": "1,2",
        "learn_sigma": True,
    }
    (tmp_path / "w.pt.json").write_text(json.dumps(flags))
    prior = load_prior(tmp_path / "w.pt")
    assert torch.equal(prior.alphas_bar, alphas_bar("cosine", 4000))
    assert prior.kind == "x0"


def test_the_network_gets_rescaled_timesteps(tmp_path, network, state):
    torch.save(state, tmp_path / "w.pt")
    told = TOLD | {"T": 4000, "kind": "x0"}
    prior = load_prior(tmp_path / "w.pt", rescale_timesteps=True, **told)
    t = torch.tensor([0, 3001])
    with torch.no_grad():
        assert torch.equal(prior(X, t), network(X, torch.tensor([0.0, 750.25]))[:, :1])
        plain = load_prior(tmp_path / "w.pt", rescale_timesteps=False, **told)
        assert torch.equal(plain(X, t), network(X, t)[:, :1])
        features = prior.features(X, t)
        assert torch.equal(features[0], network.features(X, torch.tensor([0.0, 750.25]))[0])


def test_a_schedule_may_be_given_as_betas(tmp_path, state):
    torch.save(state, tmp_path / "w.pt")
    told = {key: value for key, value in TOLD.items() if key not in ("schedule", "T")}
    prior = load_prior(tmp_path / "w.pt", betas=[0.1, 0.2], **told)
    assert prior.alphas_bar.tolist() == pytest.approx([0.9, 0.72])


@pytest.mark.parametrize("missing", TOLD)
def test_the_error_names_what_is_missing(tmp_path, state, missing):
    torch.save(state, tmp_path / "w.pt")
    told = {key: value for key, value in TOLD.items() if key != missing}
    message = error_of(tmp_path / "w.pt", **told)
    assert f"does not specify {missing};" in message
    place, example = re.search("write them into (.*), such as ({.*}), or pass", message).groups()
    Path(place).write_text(example)
    load_prior(tmp_path / "w.pt", **told)


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ({"betas": [0.1, 0.2, 0.3]}, {"schedule": "cosine", "T": 3, "rescale_timesteps": False}),
        ({"schedule": "linear", "T": 1000}, {"alphas_bar": alphas_bar("cosine", 3).tolist()}),
    ],
)
def test_a_schedule_that_is_told_replaces_that_beside_the_weights(tmp_path, state, beside, told):
    torch.save(state, tmp_path / "w.pt")
    network = {"kind": "eps", "num_heads": 4, "use_new_attention_order": False}
    (tmp_path / "w.pt.json").write_text(json.dumps(network | beside))
    prior = load_checkpoint(tmp_path / "w.pt", **told)
    assert torch.allclose(prior.alphas_bar, alphas_bar("cosine", 3))


def test_all_missing_settings_are_named_at_once(tmp_path, state):
    torch.save(state, tmp_path / "w.pt")
    assert all(key in error_of(tmp_path / "w.pt") for key in TOLD)
    assert "does not specify rescale_timesteps" in error_of(tmp_path / "w.pt", **TOLD | {"T": 500})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_heads": 5}, "num_heads=5 does not divide the 64 channels"),
        ({"num_head_channels": 48}, "num_head_channels=48 does not divide"),
        ({"model_channels": 64}, "another network: its weights have model_channels=32"),
        ({"attention": [1]}, "another network: its weights have attention=(2,)"),
        ({"norm_groups": 7}, "norm_groups=7"),
        ({"num_hads": 4}, "did you mean num_heads"),
        ({"kind": "epsilon"}, "unknown prediction kind 'epsilon'"),
        ({"schedule": "linaer"}, "did you mean linear"),
        ({"T": 0}, "T of the call must be from 1"),
        ({"T": "many"}, "T of the call must be int"),
        ({"patch": 2}, "takes 1 channels where a prior has 1 or 3 in patches of 2"),
    ],
)
def test_wrong_settings_are_named(tmp_path, state, wrong, message):
    torch.save(state, tmp_path / "w.pt")
    assert message in error_of(tmp_path / "w.pt", **TOLD | wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("middle_block.1.proj_out.bias"), "it lacks middle_block.1.proj_out.bias"),
        (
            lambda s: s.update({"middle_block.0.in_layers.0.weight": torch.zeros(7)}),
            "middle_block.0.in_layers.0.weight has the shape (7,) where (64,) is expected",
        ),
        (lambda s: s.update({"extra.weight": torch.zeros(7)}), "this one has no extra.weight"),
        (
            lambda s: s.update({"label_emb.weight": torch.zeros(1000, 128)}),
            "class conditioning (label_emb.weight, 1000 classes)",
        ),
        (lambda s: s.pop("time_embed.0.weight"), "is time_embed.0.weight, and the first is"),
        (lambda s: s.update({"down_blocks.0.weight": torch.zeros(7)}), "diffusers network"),
        (
            lambda s: s.update({"input_blocks.0.0.weight": torch.zeros(32, 6, 3, 3)}),
            "takes 6 channels where a prior has 1 or 3",
        ),
        (
            lambda s: s.update({"out.2.weight": torch.zeros(5, 32, 3, 3)}),
            "takes 1 channels and returns 5",
        ),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("output_")], "a classifier"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("output_blocks.1.")], "missing"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("input_blocks.3.")], "missing"),
        (lambda s: s.update({"input_blocks.999999.0.weight": torch.zeros(1)}), "missing"),
        (lambda s: s.update({"time_embed.0.weight": torch.zeros(0)}), "is damaged"),
        (lambda s: s.clear(), "holds no weights"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, state, change, message):
    change(state)
    torch.save(state, tmp_path / "w.pt")
    assert message in error_of(tmp_path / "w.pt", **TOLD)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    "content",
    [b"", b"hello", os.urandom(5000), b"PK\x03\x04" + os.urandom(5000), bytes(5000)],
    ids=["empty", "text", "random", "false archive", "zeros"],
)
def test_other_files_are_refused_as_checkpoints(tmp_path, suffix, content):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    assert str(path) in error_of(path, **TOLD)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_pointer_of_git_lfs_is_named(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n")
    assert "a pointer of Git LFS, not the weights" in error_of(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_truncated_file_is_refused(tmp_path, state, suffix):
    path = tmp_path / f"w{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    whole = path.read_bytes()
    for length in (100, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        assert str(path) in error_of(path, **TOLD)


@pytest.mark.parametrize("content", [[1, 2], "text", {"a": 1}, torch.zeros(3), {"a": {"b": None}}])
def test_files_without_weights_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    assert "holds no weights" in error_of(tmp_path / "w.pt", **TOLD)


WEIGHT = "time_embed.0.bias"


@pytest.mark.parametrize(
    "kind, words",
    [
        (lambda w: torch.eye(8).to_sparse(), "is sparse"),
        (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "is quantised"),
        (lambda w: w.to("meta"), "is without its numbers"),
        (lambda w: w.to(torch.complex64), "is complex"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch warns about the future of quantised tensors
def test_tensors_that_are_no_plain_numbers_are_refused(tmp_path, state, kind, words):
    torch.save(state | {WEIGHT: kind(state[WEIGHT])}, tmp_path / "w.pt")
    message = error_of(tmp_path / "w.pt", **TOLD)
    assert words in message or "not a checkpoint" in message


def test_a_container_that_contains_itself_is_searched_once(tmp_path):
    inner: dict[str, object] = {"a": 1}
    for _ in range(4):
        inner = {str(k): inner for k in range(200)}
    torch.save(inner, tmp_path / "w.pt")
    assert "holds no weights" in error_of(tmp_path / "w.pt", **TOLD)  # within this life


@pytest.mark.parametrize(
    "told, words",
    [
        ('{"channel_mult": [1e999, 1]}', "channel_mult of .* must be a list of numbers"),
        ('{"channel_mult": [NaN]}', "NaN is not a number"),
        ('{"channel_mult": ' + "[" * 200_000, "nested too deeply"),
        ('{"alphas_bar": 0.5}', "alphas_bar of .* must be a list of numbers"),
        ('{"alphas_bar": [[0.5], [0.4]]}', "alphas_bar of .* must be a list of numbers"),
        ('{"betas": []}', "betas of .* must be a list of numbers"),
        ('{"norm_groups": -4}', "norm_groups of .* must be from 1 to"),
        ('{"patch": 0}', "patch of .* must be from 1 to 64"),
        ('{"num_res_blocks": 1000000}', "num_res_blocks of .* must be from 1 to 64"),
        ('{"T": 1' + "0" * 4000 + "}", "T of .* must be from 1 to 1000000, not 10*...$"),
        ('{"num_heads": 0}', "num_heads of .* must be from 1 to"),
        ('["kind"]', "must be a JSON object"),
        ("{", "not JSON"),
        ('{"num_heads": "four"}', "num_heads of .* must be int"),
        ('{"use_new_attention_order": 1}', "use_new_attention_order of .* must be bool"),
    ],
)
@pytest.mark.parametrize("place", ["beside", "within"])
def test_invalid_settings_are_refused_in_one_line(tmp_path, state, told, words, place):
    path = tmp_path / "w.safetensors"
    if place == "within":
        save_file(state, path, metadata={"ddfm": told})
    else:
        save_file(state, path)
        path.with_name("w.safetensors.json").write_text(told)
    message = error_of(path, **{k: v for k, v in TOLD.items() if k not in told})
    assert re.search(words, message) and path.name in message and len(message) < 400


class Payload:
    """A pickle of this creates a file when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("how", ["archive", "old archive", "plain pickle", "beside the weights"])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, state, how):
    path, target = tmp_path / "w.pt", tmp_path / "owned"
    if how == "archive":
        torch.save(Payload(target), path)
    elif how == "old archive":
        torch.save(Payload(target), path, _use_new_zipfile_serialization=False)
    elif how == "plain pickle":
        path.write_bytes(pickle.dumps(Payload(target), protocol=2))
    else:
        torch.save({"state_dict": state, "args": Payload(target)}, path)
    message = error_of(path, **TOLD)
    assert "refused" in message and "mkdir" in message
    assert not target.exists()
    # It would have worked on a careless reader.
    if how == "plain pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert target.exists()


def test_a_zip_bomb_is_refused_unread(tmp_path, state):
    torch.save(state, tmp_path / "w.pt")
    bomb = tmp_path / "bomb.pt"
    with (
        zipfile.ZipFile(tmp_path / "w.pt") as source,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, bytes(50_000_000) if "/data/0" in name else source.read(name))
    assert bomb.stat().st_size < 10_000_000
    assert "would unpack to" in error_of(bomb, **TOLD)


def test_tensors_that_are_larger_than_the_file_are_refused(tmp_path, state):
    state["out.2.weight"] = torch.zeros(1).expand(10**12)
    torch.save(state, tmp_path / "w.pt")
    assert "claims more numbers than it holds" in error_of(tmp_path / "w.pt", **TOLD)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, state, value):
    path, huge = tmp_path / "prior.safetensors", {"out.2.bias": torch.full((2,), 3e38)}
    save_checkpoint(path, state | huge, TOLD)
    load_prior(path)  # their sum is infinite, and they are not
    spoilt = state["out.2.bias"].clone()
    spoilt[0] = value
    save_checkpoint(path, state | {"out.2.bias": spoilt}, TOLD)
    with pytest.raises(
        DdfmError, match=r"prior.* has weights that are NaN or infinite, in out.2.b"
    ):
        load_prior(path)


def test_a_checkpoint_has_its_own_schedule(tmp_path, state):
    save_checkpoint(tmp_path / "prior.safetensors", state, TOLD)
    for other in ("scheduler", "diffusion"):
        with pytest.raises(DdfmError, match=f"takes no {other}: it has its own settings"):
            load_prior(tmp_path / "prior.safetensors", **{other: object()})


def test_a_missing_file_is_reported(tmp_path):
    assert "no such file" in error_of(tmp_path / "w.pt")
    assert "ddfm priors get openai-256" in error_of(tmp_path / "256x256_diffusion_uncond.pt")
    with pytest.raises(DdfmError, match="did you mean openai-256"):
        load_prior("openai-255")


def test_a_file_of_the_catalogue_needs_no_settings(tmp_path, monkeypatch, state):
    entry = entries.Entry(
        "test",
        "",
        1,
        "MIT",
        files=(entries.File("known.pt", "https://example.invalid/"),),
        config=TOLD,
    )
    monkeypatch.setitem(entries.ENTRIES, "test", entry)
    monkeypatch.setenv("DDFM_CACHE", str(tmp_path))
    (tmp_path / "priors" / "test").mkdir(parents=True)
    torch.save(state, tmp_path / "priors" / "test" / "known.pt")
    assert load_prior("test").name == "test"
    torch.save(state, tmp_path / "known.pt")
    assert load_prior(tmp_path / "known.pt").name == "test"
    assert load_prior("test", num_head_channels=16).network.config.num_head_channels == 16


@pytest.mark.parametrize("nested", [True, False])
def test_a_saved_prior_is_loaded_again(tmp_path, nested):
    """Our own format: weights, the network behind its patches, and settings, in one file."""
    config = replace(TINY, model_channels=24, channel_mult=(1, 2))
    network = UNet(config).eval()
    settings = {"kind": "v", "schedule": "cosine", "timesteps": 1000, "licence": "CC0-1.0"}
    settings |= {"network": asdict(config)} if nested else asdict(config)
    half = {key: value.half() for key, value in network.state_dict().items()}
    save_checkpoint(tmp_path / "own.safetensors", half, settings)
    prior = load_prior(tmp_path / "own.safetensors")
    assert prior.network.config == config
    assert (prior.kind, prior.multiple, prior.channels) == ("v", 4, 1)
    assert prior.info["licence"] == "CC0-1.0"
    assert prior(torch.zeros(1, 1, 8, 8), torch.tensor([5])).shape == (1, 1, 8, 8)
