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
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import ddfm.web
from command_line import ddfm_run, refused
from ddfm.imaging.reading import read_image
from ddfm.imaging.sources import grey
from ddfm.registration.register import registered
from ddfm.registration.transform import Transform
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
    for page in ("index.html", "page.js", "reading.js", "worker.js", "offline.js", "page.css"):
        text = (site / page).read_text()
        assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert sum(len((site / name).read_bytes()) for name in names if "/" not in name) < 70_000


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
    assert "broken.png is damaged: its end is missing" in page.inner_text("#warning")
    page.set_input_files("#file-a", given(picture(1)))
    page.set_input_files("#file-b", given(picture(2, (40, 37))))
    page.wait_for_selector("#warning:not([hidden])")
    assert "Align them by hand" in page.inner_text("#warning")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "late.jpg", "a.webp"])
def test_a_file_without_its_end_is_recognised(page, name):
    """Firefox and WebKit show the part that is there, and it would be fused in silence."""
    look = "async data => (await import('./reading.js')).endsEarly(new Uint8Array(data))"
    how = {"progressive": True} if name == "late.jpg" else {}
    thumbnail = b"Exif\0\0II*\0\xff\xd8\xff\xd9"  # whose end is not that of the file
    data = file_of(smooth((301, 170), 9), name, exif=thumbnail, **how)["buffer"]
    if name.endswith("jpg"):
        at = data.index(b"\xff\xdb")
        data = data[:at] + b"\xff\xff" + data[at:]  # which may precede any marker
    for whole in (data, data + b"more behind it"):
        assert page.evaluate(look, list(whole)) is False
    for length in (8, 60, len(data) // 2, len(data) - (8 if name == "a.png" else 2)):
        assert page.evaluate(look, list(data[:length])) is True


def test_a_browser_that_gives_false_pixels_is_not_trusted(page):
    """As Firefox with resistFingerprinting does, Tor Browser for one, which fused noise."""
    page.evaluate("""() => {
        const of = OffscreenCanvasRenderingContext2D.prototype, read = of.getImageData;
        of.getImageData = function (...where) {
            const image = read.apply(this, where);
            return new ImageData(image.data.map(() => 256 * Math.random()), image.width);
        };
    }""")
    page.set_input_files("#file-a", given(picture(1)))
    page.wait_for_selector("#warning:text('gives pages false pixels')")


def file_of(image, name, **how):
    buffer, kind = io.BytesIO(), name.rsplit(".")[-1].replace("jpg", "jpeg")
    image.save(buffer, kind, **how)
    return {"name": name, "mimeType": f"image/{kind}", "buffer": buffer.getvalue()}


def smooth(size, turns=1.0):
    """Colours that change slowly, in the quality of which a JPEG keeps them."""
    x, y = np.meshgrid(*(np.linspace(0, 2 * np.pi * turns, n) for n in size))
    planes = [np.sin(x) * 0.4, np.cos(y) * 0.4, np.sin(x + y) * 0.4]
    return Image.fromarray(np.uint8(np.rint(255 * (0.5 + np.stack(planes, axis=-1)))))


def test_a_photograph_of_many_pixels_is_fused_reduced_and_the_sizes_are_said(page):
    """With a coarser thermal image; upright, as if both had been resized by another program."""
    thermal, photo, exif = smooth((250, 200), 2).convert("L"), smooth((1000, 800), 3), Image.Exif()
    exif[0x112] = 6
    exif.get_ifd(0x8769).update({0xA002: 800, 0xA003: 1000})
    turned = file_of(photo.rotate(90, expand=True), "photo.jpg", exif=exif, quality=97)
    page.select_option("#most", "500000")
    page.set_input_files("#file-a", file_of(thermal, "thermal.png"))
    page.set_input_files("#file-b", turned)
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)
    page.wait_for_timeout(300)
    said = page.inner_text("#status")
    assert said.startswith("The pair was fused at 790 × 632 (0.5 million pixels) of 1000 × 800. ")
    assert "thermal.png was enlarged from 250 × 200" in said
    assert page.inner_text("#drop-b output") == "photo.jpg, 1000 × 800"
    resized = [np.asarray(p.resize((790, 632), Image.Resampling.BICUBIC)) for p in (thermal, photo)]
    wanted = (resized[0] / 255 + resized[1] / 255 @ [0.299, 0.587, 0.114]) / 2
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "photo-fused.png"
    with Image.open(download.value.path()) as image:
        assert image.size == (790, 632) and image.getexif()[0x112] == 1
        inner = image.getexif().get_ifd(0x8769)
        assert (inner[0xA002], inner[0xA003]) == (790, 632)
        assert np.abs(np.asarray(image)[..., 0] - 255 * wanted).max() < 4  # those of the JPEG
    page.select_option("#most", "4000000")  # reads them again
    page.wait_for_selector("#status:text('Fused. thermal.png was enlarged')", timeout=60_000)
    assert downloaded(page).shape == (800, 1000, 3)


@pytest.mark.parametrize("scale", [0.37, 0.5, 1, 1.9])
def test_it_resizes_as_other_programs_do(page, scale):
    plane = np.random.default_rng(1).random((40, 61)).astype(np.float32)
    size = tuple(round(n * scale) for n in (61, 40))
    resize = """async ([plane, [width, height]]) => {
        const {asRGB, resized} = await import('./pixels.js');
        const rgb = asRGB(Float32Array.from(plane));
        const made = resized({width: 61, height: 40, rgb, gaps: null}, {width, height}).rgb;
        return Array.from(made.subarray(0, width * height));
    }"""
    made = np.reshape(page.evaluate(resize, [plane.ravel().tolist(), size]), size[::-1])
    wanted = np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC))
    assert np.abs(made - wanted.clip(0, 1)).max() < 1e-5


def test_a_picture_too_large_to_decode_is_refused_before_that(page):
    """Its header says so; a browser that decodes it would end the page, without a message."""
    huge = file_of(Image.new("RGB", (40, 40)), "huge.png")
    header = b"IHDR" + (20_000).to_bytes(4) + (10_000).to_bytes(4)
    page.evaluate("() => { window.createImageBitmap = () => { throw Error('decoded'); }; }")
    page.set_input_files("#file-b", huge | {"buffer": huge["buffer"][:12] + header + bytes(40)})
    page.wait_for_selector("#warning:not([hidden])")
    assert page.inner_text("#warning").startswith("huge.png has 20000 × 10000 pixels; this page")
    assert page.is_hidden("#busy")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "lossy.webp", "lossless.webp", "a.gif"])
def test_the_size_of_a_file_is_read_from_its_header(page, name):
    how = {"lossless": True} if name == "lossless.webp" else {}
    file = file_of(smooth((301, 170)), name, **how)
    extended = file_of(smooth((301, 170)), name, exif=b"Exif\0\0II*\0", **how)
    look = "async data => (await import('./reading.js')).sizeOf(new Uint8Array(data))"
    for each in (file, extended):
        wanted = None if name == "a.gif" else {"width": 301, "height": 170}
        assert page.evaluate(look, list(each["buffer"])) == wanted
        assert page.evaluate(look, list(each["buffer"][:15])) is None


def test_where_one_picture_is_transparent_the_other_is_shown_and_nothing_where_both_are(page):
    pixels = [np.full((40, 48, 4), (*levels, 255), np.uint8) for levels in ((80,) * 3, (200,) * 3)]
    for each in pixels:
        each[:10, :10, 3] = 0
    pixels[1][20:, 20:, 3] = 0
    a, b = (file_of(Image.fromarray(p), f"{k}.png") for k, p in enumerate(pixels))
    page.set_input_files("#file-a", a)
    page.set_input_files("#file-b", b)
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)
    with page.expect_download() as download:
        page.click("#save")
    with Image.open(download.value.path()) as image:
        made = np.asarray(image.convert("RGBA"))
    assert made[5, 5, 3] == 0 and made[15, 15].tolist() == [140, 140, 140, 255]
    # There b is continued at its own level, 200, by what a shows.
    assert abs(made[30, 30, :3].astype(int) - 140).max() <= 1 and (made[..., 3] == 0).sum() == 100


def test_a_fusion_for_which_memory_does_not_suffice_is_done_at_half_the_pixels(browser, address):
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script("""
            const Real = Worker;
            window.Worker = class extends Real {
                postMessage(message) {
                    const {id, graph, feeds} = message;
                    if (graph === 'default' && feeds.a.data.length > 6e5) {
                        this.onmessage({data: {id, error: 'std::bad_alloc'}});
                    } else super.postMessage(message);
                }
            };""")
        page.goto(address)
        page.wait_for_selector("#method option", state="attached")
        dropped(page, "main", *(file_of(smooth((1000, 800)), f"{k}.png") for k in "ab"))
        page.wait_for_selector("#result:not([hidden])", timeout=60_000)
        page.wait_for_timeout(300)
        said = page.inner_text("#status")
        assert said.startswith("The pair was fused at 707 × 565 (0.4 million pixels) of 1000 × 800")


def test_noise_is_measured_before_a_picture_is_enlarged(browser, address):
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script("""
            const Real = Worker;
            window.sizes = [];
            window.Worker = class extends Real {
                postMessage(message) {
                    if (message.graph === 'noise') sizes.push(message.feeds.x.dims.slice(2));
                    super.postMessage(message);
                }
            };""")
        page.goto(address)
        page.wait_for_selector("#method option", state="attached")
        dropped(page, "main", picture(1, (64, 48)), picture(2, (128, 96)))
        page.wait_for_selector("#result:not([hidden])", timeout=60_000)
        assert page.evaluate("sizes") == [[48, 64], [96, 128]]


def test_a_page_that_the_browser_ended_takes_fewer_pixels_the_next_time(page):
    """It notes in the tab what it does, and forgets it when that is done, or when it is left."""
    noted = "sessionStorage.getItem('pixels')"
    page.evaluate("sessionStorage.setItem('pixels', 4e6)")
    page.evaluate("() => addEventListener('pagehide', () => sessionStorage.setItem('pixels', 4e6))")
    page.reload()
    page.wait_for_selector("#warning:not([hidden])")
    assert "ended this page" in page.inner_text("#warning")
    assert page.input_value("#most") == "2000000" and page.evaluate(noted) is None
    page.evaluate("() => { window.createImageBitmap = () => new Promise(() => {}); }")
    page.set_input_files("#file-a", given(picture(1)))
    page.wait_for_selector("#busy:not([hidden])")
    assert page.evaluate(noted) == "2000000"
    page.reload()
    page.wait_for_selector("#method option", state="attached")
    assert page.evaluate(noted) is None and page.is_hidden("#warning")
    dropped(page, "main", picture(1), picture(2))
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)
    page.wait_for_selector("#busy", state="hidden")
    assert page.evaluate(noted) is None


def test_it_works_where_the_browser_may_keep_nothing(browser, address):
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script("""Object.defineProperty(window, 'sessionStorage', {get() {
            throw new DOMException('forbidden', 'SecurityError');
        }});""")
        page.goto(address)
        page.wait_for_selector("#method option", state="attached")
        dropped(page, "main", picture(1), picture(2))
        page.wait_for_selector("#result:not([hidden])", timeout=60_000)


def test_sizes_that_the_command_line_would_refuse_are_refused(page):
    a, b = smooth((300, 400)).convert("L"), smooth((400, 300))
    for one, hint in ((a, "rotated by 90 degrees"), (smooth((360, 270)), "--align auto")):
        dropped(page, "main", file_of(one, "a.png"), file_of(b, "b.png"))
        page.wait_for_selector("#warning:not([hidden])")
        assert hint in page.inner_text("#warning")


COLD_TO_HOT = np.array([(0, 0, 90), (200, 0, 120), (255, 140, 0), (255, 255, 200)], float)


def rendering(size):
    """Temperatures in false colours."""
    place = np.asarray(smooth(size, 2).convert("L")) / 255 * 3
    planes = [np.interp(place, range(4), channel) for channel in COLD_TO_HOT.T]
    return Image.fromarray(np.uint8(np.stack(planes, axis=-1)))


def test_false_colours_are_recognised_as_on_the_command_line(page):
    from ddfm.imaging.thermal.renderings import in_false_colors, without_false_colors

    grey = smooth((48, 36), 2).convert("L").convert("RGB")
    noise = Image.fromarray(np.uint8(picture(3, (48, 36))["pixels"] * 255))
    marked = grey.copy()
    marked.paste((200, 20, 30), (0, 0, 12, 4))
    pictures = [rendering((48, 36)), smooth((48, 36)), noise, grey, smooth((48, 36), 1.2), marked]
    look = """async ([[width, height], ...planes]) => {
        const {falseColored, isRendering} = await import('./colors.js');
        const [a, b] = planes.map(rgb => ({width, height, rgb: Float32Array.from(rgb)}));
        return [falseColored({a, b}), isRendering(a)];
    }"""
    found = set()
    for one in pictures:
        for other in pictures:
            read = [read_image(np.asarray(p)) for p in (one, other)]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                done = without_false_colors(read)
            [wanted] = [s for s, p, q in zip("ab", read, done, strict=True) if p is not q] or [None]
            planes = [
                (np.moveaxis(np.asarray(p), 2, 0) / 255).ravel().tolist() for p in (one, other)
            ]
            assert page.evaluate(look, [[48, 36], *planes]) == [wanted, in_false_colors(read[0])]
            found.add(wanted)
    assert found == {"a", "b", None}


def test_false_colours_and_sources_that_seem_exchanged_are_named(page):
    thermal, photo = rendering((96, 72)), Image.fromarray(np.uint8(picture(3)["pixels"] * 255))
    photo = photo.resize((96, 72))
    dropped(page, "main", file_of(thermal, "hot.png"), file_of(photo, "photo.png"))
    page.wait_for_selector("#warning:not([hidden])", timeout=60_000)
    assert "hot.png seems to be temperatures in false colours" in page.inner_text("#warning")
    assert "swap them" not in page.inner_text("#warning")
    page.click("#swap")
    page.wait_for_selector("#warning:text('swap them')", timeout=60_000)
    dropped(page, "main", file_of(photo, "photo.png"), file_of(thermal.convert("L"), "grey.png"))
    page.wait_for_selector("#warning:text('photo.png was taken as infrared and grey.png')")


def test_temperatures_of_a_camera_that_the_page_does_not_read_are_named(page):
    file = file_of(smooth((48, 36)).convert("L"), "flir.jpg")
    segment = b"\xff\xe1" + (20).to_bytes(2) + b"FLIR\0" + bytes(13)
    file["buffer"] = file["buffer"][:2] + segment + file["buffer"][2:]
    dropped(page, "main", file, file_of(smooth((48, 36)), "photo.jpg"))
    page.wait_for_selector("#warning:text('flir.jpg: the temperatures')", timeout=60_000)
    assert "photo.jpg: the temp" not in page.inner_text("#warning")


def test_colours_of_another_profile_are_converted_since_the_download_has_none(page):
    """Display P3, as of a phone, here told by the chunks of a PNG; the matrix is that of CSS."""
    chunks = PngImagePlugin.PngInfo()
    points = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    chunks.add(b"gAMA", (45455).to_bytes(4))
    chunks.add(b"cHRM", b"".join(n.to_bytes(4) for n in points))
    file = file_of(Image.new("RGB", (40, 40), (200, 60, 60)), "p3.png", pnginfo=chunks)
    look = """async data => {
        const {read} = await import('./reading.js'), bytes = new Uint8Array(data);
        const {rgb} = await read(new File([bytes], 'p3.png', {type: 'image/png'}), bytes, 1e6);
        return [0, 1600, 3200].map(at => Math.round(255 * rgb[at]));
    }"""
    to_srgb = ((1.22494, -0.22494, 0), (-0.04206, 1.04206, 0), (-0.01964, -0.07864, 1.09827))
    light = to_srgb @ (np.array([200, 60, 60]) / 255) ** (1 / 0.45455)
    wanted = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(page.evaluate(look, list(file["buffer"])) - wanted).max() <= 1


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
    assert "broken.png is damaged" in page.inner_text("#warning")
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
    assert "Only 1 of 256 levels are left of raw.png" in said


def as_registered(a, b, transform):
    """The grey levels of both pictures that `ddfm fuse --transform` fuses, by its own functions."""
    pictures = [read_image(np.asarray(p.convert("L"))) for p in (a, b)]
    for k, p in enumerate((a, b)):
        if p.mode == "LA" and not (mask := np.asarray(p)[..., 1] > 0).all():
            pictures[k] = replace(pictures[k], mask=mask)
    found = registered(pictures, transform=transform, look=False).pictures
    return [np.asarray(grey(picture)) for picture in found]


def aligned_by_hand(page, right, down, size, turn):
    page.wait_for_selector("#align:not([hidden])")
    page.evaluate("document.getElementById('align').open = true")
    for name, value in {"right": right, "down": down, "size": size, "turn": turn}.items():
        page.fill(f"[name={name}]", str(value))
    page.click("[name=apply]")
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)


def test_a_picture_laid_by_hand_is_fused_as_by_the_transform_that_is_saved(page, tmp_path):
    """And the file can be loaded again, which other pairs of the two cameras need."""
    a, b = smooth((60, 50), 2).convert("L"), smooth((128, 96), 1.3).convert("L")
    dropped(page, "main", file_of(a, "a.png"), file_of(b, "b.png"))
    page.wait_for_selector("#warning:text('Align them by hand')")
    aligned_by_hand(page, 9.5, -4, 70, 12)
    made = downloaded(page)
    with page.expect_download() as download:
        page.click("[name=keep]")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    transform = Transform.load(path)
    assert (transform.moving, transform.fixed) == ((50, 60), (96, 128))
    # The largest that fits has 96 / 50 times the size.
    scale, turn = 0.7 * 96 / 50, np.deg2rad(12)
    turned = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    assert transform.matrix[:2, :2] == pytest.approx(turned)
    assert transform(np.array([[29.5, 24.5]]))[0] == pytest.approx([63.5 + 9.5, 47.5 - 4])
    wanted = np.mean(as_registered(a, b, transform), axis=0)
    assert np.abs(made[..., 0] - wanted).max() < 1.1 / 255
    page.click("[name=reset]")
    page.wait_for_selector("#warning:text('Align them by hand')")
    page.set_input_files("[name=load]", path)
    page.click("[name=apply]")
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)
    assert (downloaded(page) == made).all()


@pytest.mark.parametrize("case", ["reduced", "perspective", "transparent"])
def test_a_picture_is_laid_on_another_one_as_on_the_command_line(page, case):
    """Smoothed where it becomes smaller, continued beyond its frame, and nowhere with a rim."""
    a, b = smooth((90, 70), 3).convert("LA"), smooth((64, 48), 1.3).convert("LA")
    matrix = np.array([[0.5, 0.1, 6], [-0.1, 0.5, 12], [0, 0, 1]])
    if case == "perspective":
        matrix[2, 0] = 0.002
    if case == "transparent":
        alpha = Image.new("L", a.size, 255)
        alpha.paste(0, (40, 10, 60, 50))
        a.putalpha(alpha)
    transform = Transform(matrix, (70, 90), (48, 64))
    wanted = as_registered(a, b, transform)
    lay = """async ([planes, sizes, matrix]) => {
        const {laid} = await import('./laying.js'), {continued} = await import('./gaps.js');
        const {asRGB} = await import('./pixels.js');
        const [a, b] = planes.map(([plane, gaps], k) => ({...sizes[k],
            rgb: asRGB(Float32Array.from(plane)), gaps: Float32Array.from(gaps)}));
        const moved = laid(a, matrix, b), count = b.gaps.length;
        const grey = [moved, b].map(({rgb}) => rgb.subarray(0, count));
        return [0, 1].map(k => [...continued(grey[k], [moved, b][k].gaps, grey[1 - k],
            [b, moved][k].gaps, b.width, b.height)]);
    }"""
    given = []
    for picture in (a, b):
        levels, alpha = np.moveaxis(np.asarray(picture), 2, 0)
        given.append([(levels / 255).ravel().tolist(), (1.0 * (alpha == 0)).ravel().tolist()])
    sizes = [dict(zip(("width", "height"), p.size, strict=True)) for p in (a, b)]
    made = page.evaluate(lay, [given, sizes, matrix.tolist()])
    for plane, of in zip(made, wanted, strict=True):
        off = np.abs(np.reshape(plane, (48, 64)) - of)
        assert off.max() < 1.5 / 255 and off.mean() < 0.1 / 255


def test_a_picture_is_laid_by_fingers_keys_and_wheel(browser, address):
    """What is touched stays under the fingers; a tenth of a pixel is what a screen rounds."""
    with browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True) as context:
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("#method option", state="attached")
        dropped(page, "main", picture(1, (64, 48)), picture(2, (128, 96)))
        page.wait_for_selector("#result:not([hidden])", timeout=60_000)
        page.click("summary")
        fields = ("right", "down", "size", "turn")

        def point(x, y):  # of a pixel of the visible image
            box = page.locator(".overlay").bounding_box()
            scale = box["width"] / 128
            return {"x": box["x"] + (x + 0.5) * scale, "y": box["y"] + (y + 0.5) * scale}

        def values():
            return [float(page.input_value(f"[name={name}]")) for name in fields]

        client = context.new_cdp_session(page)
        two = [point(43.5, 47.5) | {"id": 1}, point(83.5, 47.5) | {"id": 2}]
        client.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": two})
        # Turned by a quarter, half as large, and moved by 10 to the right.
        two = [point(73.5, 37.5) | {"id": 1}, point(73.5, 57.5) | {"id": 2}]
        client.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": two})
        client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert values() == pytest.approx([10, 0, 50, 90], abs=0.3)
        assert page.is_hidden("#result") and "Press Fuse" in page.inner_text("#status")
        page.click("[name=reset]")
        assert values() == [0, 0, 100, 0]
        page.wait_for_selector("#result:not([hidden])", timeout=60_000)
        page.locator(".overlay").focus()
        for key in ("ArrowRight", "Shift+ArrowDown", "+", "."):
            page.keyboard.press(key)
        assert values() == pytest.approx([1, 10, 100.5, 0.1])
        page.locator(".overlay").scroll_into_view_if_needed()
        page.mouse.move(*point(64, 48).values())
        page.mouse.down()
        page.mouse.move(*point(74, 28).values())
        page.mouse.up()
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(100)
        right, down, size, turn = values()
        assert [right, down, turn] == pytest.approx([11, -10, 0.1], abs=0.2) and size > 102
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    "text", ["no", "{}", '{"format": "ddfm transform 1", "matrix": [1], "moving": 3}']
)
def test_another_file_than_a_transform_is_refused_and_changes_nothing(page, text):
    dropped(page, "main", picture(1), picture(2))
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)
    page.evaluate("document.getElementById('align').open = true")
    file = {"name": "other.json", "mimeType": "application/json", "buffer": text.encode()}
    page.set_input_files("[name=load]", file)
    page.wait_for_selector("#warning:text('other.json is not a transform of a pair')")
    assert page.is_visible("#result")


def test_pictures_that_are_exchanged_keep_their_place(page):
    a, b = (smooth(size, 1.5).convert("L") for size in ((60, 50), (128, 96)))
    dropped(page, "main", file_of(a, "a.png"), file_of(b, "b.png"))
    aligned_by_hand(page, 9.5, -4, 70, 12)
    page.click("#swap")
    page.wait_for_selector("#drop-a output:text('b.png')")
    page.wait_for_selector("#result:not([hidden])", timeout=60_000)
    cos, sin = (f(np.deg2rad(12)) * 0.7 * 96 / 50 for f in (np.cos, np.sin))
    turned = np.array([[cos, -sin], [sin, cos]])
    shift = np.array([63.5 + 9.5, 47.5 - 4]) - turned @ [29.5, 24.5]
    there = Transform(np.r_[np.c_[turned, shift], [[0, 0, 1]]], (50, 60), (96, 128)).inverse()
    wanted = np.mean(as_registered(b, a, there), axis=0)
    assert np.abs(downloaded(page)[..., 0] - wanted).max() < 1.1 / 255


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
