"""Priors that are saved, and loaded from a hub, which is a local server here."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from ddfm.errors import DdfmError, DownloadError
from ddfm.priors import load_prior
from ddfm.priors.catalog import check_prior
from ddfm.priors.hub import fetch, place_of
from ddfm.priors.network import UNetPrior
from ddfm.priors.schedule import alphas_bar
from ddfm.priors.unet import UNet
from scenes import TINY

COMMIT = "0123456789abcdef0123456789abcdef01234567"
X = torch.randn(1, 1, 8, 12, generator=torch.Generator().manual_seed(5))
T = torch.tensor([30])


def tiny(length: int = 200, **how: object) -> UNetPrior:
    torch.manual_seed(0)
    network = UNet(TINY).eval()
    for weight in network.parameters():  # some are zero to begin with
        torch.nn.init.normal_(weight, std=0.1)
    return UNetPrior(network, alphas_bar("cosine", length), kind="v", name="tiny", **how)


@pytest.mark.parametrize("rescaled", [False, True])
def test_a_saved_prior_is_loaded_as_it_was(tmp_path, rescaled):
    times = torch.arange(200) * 5.0 if rescaled else None
    prior = tiny(times=times)
    prior.save_pretrained(tmp_path / "saved")
    for place in (tmp_path / "saved", str(tmp_path / "saved" / "model.safetensors")):
        again = load_prior(place)
        assert torch.equal(again(X, T), prior(X, T))
        assert torch.equal(again.alphas_bar, prior.alphas_bar) and again.name == "tiny"


def test_a_prior_that_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(DdfmError, match="no weights in a form that ddfm can write"):
        load_prior("gaussian").save_pretrained(tmp_path)
    with pytest.raises(DdfmError, match="visits only a part of its timesteps"):
        tiny(20, times=torch.arange(20) * 3.0).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


class Hub:
    """Answers as the Hub does: the files of a commit with their sha256, and each of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked, self.changes = folder, [], {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                body = outer.answer(self.path)
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, path: str) -> bytes | None:
        if path.startswith("/api/models/lab/tiny/revision/"):
            return json.dumps({"sha": COMMIT, "siblings": self.siblings()} | self.changes).encode()
        file = self.folder / path.removeprefix(f"/lab/tiny/resolve/{COMMIT}/")
        return file.read_bytes() if file.is_file() else None

    def siblings(self) -> list[dict]:
        listed = []
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            data = path.read_bytes()
            one = {"rfilename": str(path.relative_to(self.folder)), "size": len(data)}
            if path.suffix in (".safetensors", ".bin"):
                one["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            listed.append(one)
        return listed


@pytest.fixture
def hub(tmp_path, monkeypatch):
    (tmp_path / "hub").mkdir()
    server = Hub(tmp_path / "hub")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("DDFM_CACHE", str(tmp_path / "cache"))
    yield server
    server.http.shutdown()
    server.http.server_close()


def test_a_prior_is_downloaded_once_and_a_commit_needs_no_connection(hub):
    prior = tiny()
    prior.save_pretrained(hub.folder)
    (hub.folder / "pytorch_model.bin").write_bytes(b"\x80\x02 a pickle")
    (hub.folder / "modeling.py").write_text("raise SystemExit")
    again = load_prior("hf://lab/tiny")
    assert torch.equal(again(X, T), prior(X, T)) and again.name == "hf://lab/tiny"
    assert [path.rpartition("/")[2] for path in hub.asked] == [
        "main?blobs=true",
        "model.safetensors",
    ]
    load_prior("hf://lab/tiny@main")
    assert len(hub.asked) == 3  # which commit that is now
    load_prior(f"hf://lab/tiny@{COMMIT}")
    assert len(hub.asked) == 3


def test_a_diffusers_model_is_downloaded_without_its_pickles(hub):
    diffusers = pytest.importorskip("diffusers")
    model = diffusers.UNet2DModel(
        sample_size=16, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=8,
        block_out_channels=(16, 16), down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip
    model.save_pretrained(hub.folder / "unet")
    diffusers.DDPMScheduler(100).save_pretrained(hub.folder / "scheduler")
    (hub.folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x02 a pickle")
    x, t = torch.randn(1, 1, 16, 16), torch.tensor([5])
    expected = load_prior(hub.folder)(x, t)
    assert torch.equal(load_prior("hf://lab/tiny@v1.0")(x, t), expected)
    assert not any(path.endswith(".bin") for path in hub.asked)


def test_pickles_alone_are_refused(hub):
    (hub.folder / "pytorch_model.bin").write_bytes(b"\x80\x02 a pickle")
    with pytest.raises(DdfmError, match=r"no model\.safetensors, nor .* could run a program"):
        fetch("hf://lab/tiny")
    assert len(hub.asked) == 1


def test_files_that_differ_from_the_published_ones_are_refused(hub, tmp_path):
    tiny().save_pretrained(hub.folder)
    listed = hub.siblings()
    listed[0]["lfs"]["sha256"] = "0" * 64
    hub.changes = {"siblings": listed}
    with pytest.raises(DownloadError, match="where 0000.* is expected; it was not accepted"):
        fetch("hf://lab/tiny")
    listed[0]["lfs"] = None
    with pytest.raises(DownloadError, match=r"publishes no sha256 of model\.safetensors"):
        fetch("hf://lab/tiny")
    hub.changes = {"sha": "../../etc"}
    with pytest.raises(DownloadError, match="is not that of a hub"):
        fetch("hf://lab/tiny")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


@pytest.mark.parametrize("name", [["model.safetensors"], {}, None, 5])
def test_a_list_of_files_that_is_none_is_refused(hub, name):
    hub.changes = {"siblings": [{"rfilename": name, "lfs": "x"}, "x", None]}
    with pytest.raises(DdfmError, match=r"has no model\.safetensors"):
        fetch("hf://lab/tiny")


def test_a_damaged_list_in_the_cache_is_refused(hub, tmp_path):
    folder = tmp_path / "cache" / "hub" / "lab--tiny" / COMMIT
    folder.mkdir(parents=True)
    listing = {"commit": COMMIT, "files": {"model.safetensors": "x"}}
    (folder / "ddfm-files.json").write_text(json.dumps(listing))
    with pytest.raises(DownloadError, match=r"no valid size and sha256 of model\.safetensors"):
        fetch(f"hf://lab/tiny@{COMMIT}")


def test_invalid_names_on_a_hub_are_refused(hub, monkeypatch):
    assert place_of("hf://lab/tiny@v1").revision == "v1"
    for name in (
        "hf://",
        "hf://lab",
        "hf://lab/../x",
        "hf://lab/tiny@../x",
        "hf://a/b/c",
        "hf://-/x",
    ):
        with pytest.raises(DdfmError, match="a prior on a hub is hf://OWNER/NAME"):
            place_of(name)
    with pytest.raises(DdfmError, match="hf://OWNER/NAME"):
        check_prior("hf://x")
    check_prior("hf://lab/tiny")
    assert not hub.asked
    with pytest.raises(DownloadError, match="the server answered 404"):
        fetch("hf://lab/other")
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    with pytest.raises(DownloadError, match="only http and https"):
        fetch("hf://lab/tiny")
