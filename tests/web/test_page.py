"""The page, in a browser: it fuses two pictures, and no other host is contacted.

The methods here are graphs of one operation, so that what comes out is known; that ddfm's own are
right is tested in tests/export, and on the page by benchmarks/page_equal.py. Chromium is looked for
on the PATH, and the runtime, the folder dist of onnxruntime-web, at $DDFM_ONNXRUNTIME_WEB.
"""

import io
import json
import os
import shutil
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddfm.web
from command_line import ddfm_run, refused
from ddfm.storage.ours import MARK
from ddfm.web.server import site_server
from ddfm.web.site import RUNTIME, build_site
from small_graphs import write_graphs

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
DIST = os.environ.get("DDFM_ONNXRUNTIME_WEB")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    write_graphs(folder)
    return folder


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """The real runtime if there is one; otherwise files of the same names."""
    if DIST:
        return Path(DIST)
    folder = tmp_path_factory.mktemp("dist")
    for name in RUNTIME:
        (folder / name).write_bytes(b"runtime")
    return folder


@pytest.fixture(scope="module")
def site(graphs, runtime, tmp_path_factory):
    folder = tmp_path_factory.mktemp("web") / "site"
    build_site(folder, runtime, graphs)
    return folder


@pytest.fixture(scope="module")
def address(site):
    with site_server(site, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_the_site_has_all_files_that_its_pages_name(site):
    assert MARK in (site / "site.json").read_text()
    names = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert {"index.html", "page.js", "worker.js", "graphs/default.onnx"} <= names
    for page in ("index.html", "page.js", "worker.js", "offline.js", "page.css"):
        text = (site / page).read_text()
        assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert sum(len((site / name).read_bytes()) for name in names if "/" not in name) < 25_000


def test_it_offers_only_what_its_graphs_are_for(site):
    text = (site / "index.html").read_text()
    assert "Infrared" in text and "MRI" not in text and "CT," not in text


def test_graphs_that_it_makes_are_counted(graphs, runtime, tmp_path, monkeypatch, capsys):
    graph = (graphs / "default.onnx").read_bytes()
    monkeypatch.setattr("ddfm.export.onnx.exported", lambda name: graph)
    build_site(tmp_path / "site", runtime)
    lines = capsys.readouterr().err.splitlines()
    assert "graphs made: 0 of 5" in lines[0] and "graphs made: 5 of 5" in lines[-1]


def test_browsers_notice_a_new_site_by_the_bytes_of_offline_js(site, graphs, runtime, tmp_path):
    """They compare nothing else, and keep the old site as long as these are the same."""
    (tmp_path / "graphs").mkdir()
    for path in graphs.iterdir():
        other = graphs / "tone.onnx" if path.name == "noise.onnx" else path
        (tmp_path / "graphs" / path.name).write_bytes(other.read_bytes())
    build_site(tmp_path / "new", runtime, tmp_path / "graphs")
    texts = []
    for folder in (site, tmp_path / "new"):
        texts.append((folder / "offline.js").read_text())
        assert f"'{json.loads((folder / 'site.json').read_text())['version']}'" in texts[-1]
    assert texts[0] != texts[1]


def test_headers_forbid_other_hosts_and_folders_are_not_listed(address):
    with urllib.request.urlopen(address) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert policy.startswith("default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; ")
    assert "connect-src" not in policy  # so that it is 'self', too
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{address}graphs/")
    with urllib.request.urlopen(f"{address}worker.js") as answer:
        assert answer.headers["Content-Type"] == "text/javascript"


def test_missing_files_are_named(tmp_path, graphs, runtime, site):
    refused(ddfm_run("web", tmp_path / "none"), "is not a site of ddfm", "npm install")
    refused(ddfm_run("web", tmp_path / "new", "--runtime", tmp_path), "there is no ort.wasm")
    told = ("web", tmp_path / "new", "--runtime", runtime, "--graphs")
    refused(ddfm_run(*told, tmp_path), "ddfm export tone")
    refused(ddfm_run("web", site, "--runtime", runtime, "--graphs", graphs), "exists already")
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="the browser is led by playwright")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on the PATH")
    if not DIST:
        pytest.skip("DDFM_ONNXRUNTIME_WEB does not say where onnxruntime-web/dist is")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    with browser.new_context(viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.asked = []
        context.on("request", lambda request: page.asked.append(request.url))
        page.goto(address)
        page.wait_for_selector("#method option", state="attached")
        yield page


def picture(seed: int, size=(45, 37)) -> dict[str, object]:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    file = {"name": f"{seed}.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    return file | {"pixels": pixels / 255}


def photograph(seed: int) -> dict[str, object]:
    """Stored rotated, as by a camera held upright; with position and thumbnail in EXIF."""
    upright = Image.fromarray(np.full((36, 48, 3), (200, 90, 40 + seed), np.uint8))
    exif = Image.Exif()
    exif[0x112], exif[0x10F] = 6, "Camera"
    exif.get_ifd(0x8769).update({0xA002: 36, 0xA003: 48, 0x9003: "2026:01:02 03:04:05"})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0)})
    buffer = io.BytesIO()
    upright.rotate(90, expand=True).save(buffer, "JPEG", exif=exif, quality=95)
    return {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


def given(file):
    return {key: file[key] for key in ("name", "mimeType", "buffer")}


def downloaded(page):
    with page.expect_download() as download:
        page.click("#save")
    with Image.open(download.value.path()) as image:
        return np.asarray(image.convert("RGB")) / 255


def test_two_pictures_are_fused_in_the_browser_and_nothing_leaves_it(page, address):
    a, b = picture(1), picture(2)
    page.set_input_files("#file-a", given(a))
    page.set_input_files("#file-b", given(b))
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)
    luma = (a["pixels"] + b["pixels"]) / 2 @ [0.299, 0.587, 0.114]
    assert np.abs(downloaded(page) - luma[..., None]).max() <= 1 / 255
    assert "noisy" in page.inner_text("#warning")
    assert all(url.startswith((address, "blob:")) for url in page.asked)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.getElementById('result').getBoundingClientRect().top") < 844
    page.locator("#strength").fill("0")  # the visible picture alone
    page.wait_for_timeout(500)
    visible = b["pixels"] @ [0.299, 0.587, 0.114]
    assert np.abs(downloaded(page) - visible[..., None]).max() <= 1 / 255
    page.click("#swap")
    assert names_of_inputs(page) == ["2.png", "1.png"]


def test_the_download_has_the_exif_of_the_camera(page):
    """That of the picture that gives the colour, adapted to the result; none if unticked."""
    page.set_input_files("#file-a", given(picture(1, (48, 36))))
    page.set_input_files("#file-b", given(photograph(0)))
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)
    for wanted in (True, False):
        page.set_checked("#exif", wanted)
        with page.expect_download() as download:
            page.click("#save")
        with Image.open(download.value.path()) as image:
            image.load()
            exif = image.getexif()
            assert image.size == (48, 36) and bool(exif) == wanted
            if wanted:
                assert (exif[0x112], exif[0x10F]) == (1, "Camera")
                inner = exif.get_ifd(0x8769)
                assert (inner[0xA002], inner[0xA003]) == (48, 36)
                assert inner[0x9003] == "2026:01:02 03:04:05"
                assert exif.get_ifd(0x8825)[2] == (52.0, 30.0, 0.0)
    page.select_option("#color", "a")
    with page.expect_download() as download:
        page.click("#save")
    with Image.open(download.value.path()) as image:
        assert not image.getexif()


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG"])
def test_exif_is_found_in_every_format_and_ignored_if_damaged(page, format):
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x10F] = "Camera"
    Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(buffer, format, exif=exif)
    data = buffer.getvalue()
    look = """async data => {
        const {exifOf, exifFor} = await import('./exif.js');
        const found = exifOf(new Uint8Array(data));
        return found && Array.from(exifFor(found, 40, 40) ?? []);
    }"""
    assert b"Camera" in bytes(page.evaluate(look, list(data)))
    at = data.index(b"II*\0") if b"II*\0" in data else data.index(b"MM\0*")
    for broken in (data[:at], data[: at + 5], data[: at + 4] + b"\xff" * 60, data[:3]):
        assert page.evaluate(look, list(broken)) in (None, [])


def test_a_damaged_file_causes_a_message(page):
    broken = given(picture(1)) | {"name": "broken.png"}
    page.set_input_files("#file-a", broken | {"buffer": broken["buffer"][:60]})
    page.wait_for_selector("#warning:not([hidden])")
    assert "broken.png is not an image" in page.inner_text("#warning")
    page.set_input_files("#file-a", given(picture(1)))
    page.set_input_files("#file-b", given(picture(2, (40, 37))))
    page.wait_for_selector("#warning:not([hidden])")
    assert "of the same size" in page.inner_text("#warning")


def test_a_file_that_was_refused_does_not_seem_to_be_chosen(page):
    broken = given(picture(1)) | {"name": "broken.png", "buffer": b"no picture"}
    page.set_input_files("#file-a", broken)
    page.wait_for_selector("#warning:not([hidden])")
    page.set_input_files("#file-b", given(picture(2)))
    page.wait_for_selector("#drop-b canvas:not([hidden])")
    assert names_of_inputs(page) == [None, "2.png"]
    assert page.inner_text("#status") == "Choose the infrared image."


def test_a_page_opened_as_a_file_says_that_it_needs_a_server(browser, site):
    """The browser loads no program then, and nobody would tell why nothing happens."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((site / "index.html").as_uri())
        page.wait_for_timeout(300)
        assert "opened as a file" in page.inner_text("#status")


def dropped(page, selector, *files):
    """Whether the page takes files that are dropped on an element, instead of the browser."""
    drop = """([selector, files]) => {
        const dataTransfer = new DataTransfer();
        for (const [name, type, data] of files) {
            dataTransfer.items.add(new File([new Uint8Array(data)], name, {type}));
        }
        const about = {dataTransfer, bubbles: true, cancelable: true};
        return ['dragover', 'drop'].every(kind => !document.querySelector(selector)
            .dispatchEvent(new DragEvent(kind, about)));
    }"""
    given = [[file["name"], file["mimeType"], list(file["buffer"])] for file in files]
    return page.evaluate(drop, [selector, given])


def names_of_inputs(page):
    return page.evaluate(
        "['a', 'b'].map(side => document.getElementById(`file-${side}`).files[0]?.name)"
    )


def test_two_pictures_dropped_anywhere_are_both_taken_and_the_page_is_never_left(page):
    assert dropped(page, "header", picture(1), picture(2))
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)
    assert names_of_inputs(page) == ["1.png", "2.png"]
    assert dropped(page, "#drop-a span", picture(3))
    assert names_of_inputs(page) == ["3.png", "2.png"]
    assert dropped(page, "main", picture(4))
    assert "on Infrared or Visible" in page.inner_text("#warning")
    assert names_of_inputs(page) == ["3.png", "2.png"]


def test_the_last_file_counts_whatever_is_still_being_read_or_fused(page):
    """A damaged file while the one before it is fused, and one that is read more slowly."""
    broken = given(picture(1)) | {"name": "broken.png"}
    dropped(page, "main", picture(1), picture(2))
    page.set_input_files("#file-a", broken | {"buffer": broken["buffer"][:60]})
    page.wait_for_timeout(1500)
    assert "broken.png is not an image" in page.inner_text("#warning")
    assert not page.is_visible("#result")
    page.evaluate("""() => {
        const decode = createImageBitmap;
        window.createImageBitmap = async (file, ...how) => {
            if (file.name === '3.png') await new Promise(done => setTimeout(done, 1000));
            return decode(file, ...how);
        };
    }""")
    page.set_input_files("#file-a", given(picture(3)))
    page.set_input_files("#file-a", given(picture(4)))
    page.wait_for_timeout(1500)
    assert page.inner_text("#drop-a output").startswith("4.png")
    page.set_input_files("#file-a", given(picture(3)))
    page.click("#swap")
    page.wait_for_timeout(1500)
    assert page.inner_text("#drop-a output").startswith("2.png")
    assert page.inner_text("#drop-b output").startswith("3.png")


def test_a_fusion_that_is_not_wanted_any_more_is_ended(browser, address):
    """That of four megapixels takes minutes, for which the next one would wait."""
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script("""
            const Real = Worker;
            window.Worker = class extends Real {
                constructor(...how) {
                    super(...how);
                    window.started = (window.started ?? 0) + 1;
                    if (window.started === 1) this.postMessage = () => {}; // it never answers
                }
            };""")
        page.goto(address)
        page.wait_for_selector("#method option", state="attached")
        dropped(page, "main", picture(1), picture(2))
        page.wait_for_selector("#drop-b canvas:not([hidden])")
        page.wait_for_timeout(300)
        assert "Fusing" in page.inner_text("#status")
        page.set_input_files("#file-a", given(picture(3)))
        page.wait_for_selector("#result:not([hidden])", timeout=20_000)
        assert page.evaluate("window.started") == 2


def test_a_picture_of_16_bits_is_named(page):
    buffer = io.BytesIO()
    Image.fromarray(np.full((37, 45), 7000, np.uint16)).save(buffer, "PNG")
    deep = {"name": "raw.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    page.set_input_files("#file-a", deep)
    page.set_input_files("#file-b", given(picture(2)))
    page.wait_for_selector("#warning:not([hidden])")
    said = page.inner_text("#warning")
    assert said.startswith("raw.png: 16 bits") and "raw.png and 2.png: noisy" in said


def test_it_works_offline_and_all_controls_have_labels(page):
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.context.set_offline(True)
    page.reload()
    page.wait_for_selector("#method option", state="attached")
    names = page.evaluate(
        "[...document.querySelectorAll('input, select, button')].map("
        "e => e.ariaLabel || e.labels?.[0]?.textContent.trim() || e.textContent.trim())"
    )
    assert all(names)


def test_a_new_site_replaces_the_old_one_and_no_cache_of_others(browser, site, runtime, tmp_path):
    """At the second visit at the latest; the first may still show the old one, while it loads."""
    folder, graphs = tmp_path / "site", tmp_path / "graphs"
    graphs.mkdir()
    for path in (site / "graphs").iterdir():
        (graphs / path.name).write_bytes(path.read_bytes())
    build_site(folder, runtime, graphs)
    ready = "navigator.serviceWorker.ready.then(() => caches.keys())"
    title = "document.querySelector('h1').textContent"
    with site_server(folder, 0) as server, browser.new_context() as context:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        [old] = page.evaluate(ready)
        page.evaluate("caches.open('of somebody else')")
        folder.rename(tmp_path / "old")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ddfm.web.site.files", lambda package: later_pages(tmp_path))
            build_site(folder, runtime, graphs)
        for path in folder.rglob("*"):  # a server compares whole seconds, and both are of one
            os.utime(path, (time.time() + 2,) * 2)
        page.reload()
        for _ in range(100):
            if old not in page.evaluate(ready):
                break
            page.wait_for_timeout(100)
        page.reload()
        assert page.evaluate(title) == "A later page"
        assert "of somebody else" in page.evaluate(ready)
        server.shutdown()


def later_pages(folder: Path) -> Path:
    """The files of the page with another headline, as a later version of ddfm may have."""
    later = folder / "page"
    if not later.exists():
        shutil.copytree(Path(ddfm.web.__file__).parent / "page", later)
        text = (later / "index.html").read_text()
        headline = "Fuse an infrared and a visible image"
        (later / "index.html").write_text(text.replace(headline, "A later page"))
    return folder
