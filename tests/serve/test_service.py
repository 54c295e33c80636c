"""The service: the pictures of the command line, and a one-line error for anything else."""

import asyncio
import base64
import html
import io
import json
import random
import re
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from command_line import FAST, ddfm_run, refused
from ddfm.config import FusionConfig
from ddfm.priors import load_prior
from ddfm.restoration import defects
from ddfm.result import Fusion
from ddfm.serve.app import make_app
from ddfm.serve.limits import Limits
from ddfm.serve.work import Service
from image_files import geotiff
from serve_load import malformed

OPTIONS = {"likelihood": "paper", "steps": 2}


@pytest.fixture(scope="module")
def prior():
    return load_prior("gaussian")


@pytest.fixture(scope="module")
def client(prior):
    with TestClient(make_app(Service(device="cpu"), prior)) as client:
        yield client


def png(seed: int, size=(24, 20), name: str = "a.png"):
    values = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return "sources", (name, buffer.getvalue())


def pair():
    return [png(1, name="ir.png"), png(2, name="vis.png")]


def fuse(client, files, options=OPTIONS, **more):
    return client.post("/fuse", files=files, data={"options": json.dumps(options)}, **more)


def test_the_picture_is_the_one_of_the_command_line(client, tmp_path):
    files = pair()
    for _, (name, data) in files:
        (tmp_path / name).write_bytes(data)
    ddfm_run("fuse", tmp_path / "ir.png", tmp_path / "vis.png", "-o", tmp_path / "f.png", *FAST)
    answer = fuse(client, files)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content == (tmp_path / "f.png").read_bytes()


def test_json_has_settings_and_the_same_picture(client):
    picture = fuse(client, pair())
    told = fuse(client, pair(), headers={"Accept": "application/json"}).json()
    assert base64.b64decode(told["picture"]) == picture.content
    assert (told["settings"]["likelihood"], told["format"]) == ("paper", "png")


@pytest.mark.parametrize("format", ["tif", "jpg", "webp", ".jp2"])
def test_formats_can_be_chosen(client, format):
    data = {"options": json.dumps(OPTIONS), "format": format}
    answer = client.post("/fuse", files=pair(), data=data)
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.size == (24, 20)


def test_coordinates_are_kept_by_formats_that_hold_them(client, tmp_path):
    levels = np.random.default_rng(3).integers(9, 250, (20, 24), np.uint8)
    files = [png(1), ("sources", ("b.tif", geotiff(tmp_path / "b.tif", levels).read_bytes()))]
    for form, words in (("png", "image.png: a .png file cannot hold"), ("tif", "kept from b.tif")):
        data = {"options": json.dumps(OPTIONS), "format": form}
        answer = client.post("/fuse", files=files, data=data)
        (warned,) = json.loads(answer.headers["DDFM-Warnings"])
        assert warned.startswith(words) and "coordinates" in warned


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"likelyhood": "paper"}, "did you mean likelihood"),
        ({"likelihood": "papre"}, "did you mean paper"),
        ({"steps": 0, "likelihood": "paper"}, "steps"),
        ({"prior": "/etc/passwd"}, "unknown option 'prior'"),
        ({"task": 3}, "task"),
        ({"clean": "much"}, "clean"),
        ({"clip": "perhaps"}, "clip"),
        ({"start": 10**30}, "start"),
        ({"options": {"kappa": "x"}}, "kappa"),
        ({"options": []}, "options"),
        ([], "options must be a JSON object"),
    ],
)
def test_invalid_options_are_named(client, options, words):
    answer = fuse(client, pair(), options)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize("name", ["mask", "blur"])
def test_no_request_makes_it_open_a_file_of_its_machine(client, tmp_path, name):
    Image.new("L", (24, 20), 255).save(tmp_path / "there.png")
    for path in (tmp_path / "there.png", tmp_path / "missing.png"):
        answer = fuse(client, pair(), OPTIONS | {"observations": [None, {name: str(path)}]})
        assert answer.status_code == 400
        assert answer.json()["error"].startswith(f"{name} cannot name a file in a request")


def test_a_name_that_is_sent_in_place_of_a_file_is_told(client):
    """As curl does without an @."""
    answer = client.post("/fuse", data={"sources": ["ir.png", "vis.png"]})
    assert answer.status_code == 400
    assert "sent as text, not as a file" in answer.json()["error"]


def test_settings_outside_of_the_options_are_refused(client):
    """Ignoring them would give another picture than the requested one."""
    for url, more in (("/fuse", {"task": "medical"}), ("/fuse?task=medical", {})):
        answer = client.post(url, files=pair(), data=more)
        assert answer.status_code == 400
        assert "not 'task'; settings go into options" in answer.json()["error"]


def test_errors_are_those_of_the_command_line(client, tmp_path):
    files = [png(1, name="ir.png"), png(2, (30, 20), "vis.png")]
    for _, (name, data) in files:
        (tmp_path / name).write_bytes(data)
    result = ddfm_run("fuse", tmp_path / "ir.png", tmp_path / "vis.png", "-o", tmp_path / "f.png")
    line = refused(result, "ir.png has 24 x 20 pixels").removeprefix("ddfm: error: ")
    answer = fuse(client, files)
    assert answer.status_code == 400
    assert answer.json()["error"] == line.strip().replace(f"{tmp_path}/", "")


def test_a_damaged_file_is_named(client):
    _, (_, data) = png(1)
    answer = fuse(client, [png(2), ("sources", ("broken.png", data[:80]))])
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("broken.png is truncated or damaged")


# What Starlette holds in memory when it finds a body malformed, it leaves to be collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_malformed_bodies_are_refused(client):
    generator = random.Random(0)
    good = client.build_request("POST", "/fuse", files=pair()).read()
    for _ in range(200):
        body, content_type = malformed(good, generator)
        answer = client.post("/fuse", content=body, headers={"Content-Type": content_type})
        # What was changed may be a pixel, or the name of a file.
        assert answer.status_code == 200 or 400 <= answer.status_code < 500, body
        if answer.status_code != 200:
            assert answer.json()["error"]


def test_no_file_is_written(client, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a temporary file")

    for name in ("mkstemp", "TemporaryFile", "NamedTemporaryFile"):
        monkeypatch.setattr(tempfile, name, refuse)
    large = [png(1, (1200, 1000)), png(2, (1200, 1000))]  # larger than forms keep in memory usually
    assert fuse(client, large).status_code == 200


def test_a_request_that_is_too_large_is_refused_with_or_without_length(prior):
    app = make_app(Service(device="cpu", limits=Limits(upload=2000)), prior)
    body = b"x" * 5000
    with TestClient(app) as client:
        for content in (body, iter([body[:1500], body[1500:]])):
            answer = client.post(
                "/fuse",
                content=content,
                headers={"Content-Type": "multipart/form-data; boundary=x"},
            )
            assert answer.status_code == 413
            assert "0.002 MB" in answer.json()["error"]


def held(prior):
    """A prior that blocks, an event for its first evaluation, and one that releases it."""
    asked, may_go = threading.Event(), threading.Event()
    kept = type(prior).__call__

    class Held(type(prior)):
        def __call__(self, x_t, t):
            asked.set()
            assert may_go.wait(60)
            return kept(self, x_t, t)

    waiting = object.__new__(Held)
    waiting.__dict__.update(prior.__dict__)
    return waiting, asked, may_go


def test_a_request_beyond_the_queue_gets_a_time_to_try_again(prior):
    waiting, asked, may_go = held(prior)
    app = make_app(Service(device="cpu", limits=Limits(queue=3)), waiting)
    with TestClient(app) as client, ThreadPoolExecutor(3) as pool:
        first = [pool.submit(fuse, client, pair()) for _ in range(3)]
        assert asked.wait(60)
        while client.get("/healthz").json()["taken"] < 3:
            pass
        late = fuse(client, pair())
        may_go.set()
        assert [each.result().status_code for each in first] == [200] * 3
        assert late.status_code == 503
        assert int(late.headers["Retry-After"]) >= 1
        assert fuse(client, pair()).status_code == 200


def measured(client):
    """The numbers of /metrics by their names, as Prometheus reads them."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.endswith("\n")
    lines = [line for line in answer.text.splitlines() if not line.startswith("# ")]
    assert all(re.fullmatch(r'[a-z_]+(\{status="\d{3}"\})? [\d.]+', line) for line in lines)
    return {name: float(number) for name, number in (line.split() for line in lines)}


def test_metrics_count_requests_their_seconds_and_those_in_progress(prior):
    waiting, asked, may_go = held(prior)
    app = make_app(Service(device="cpu", limits=Limits(queue=2)), waiting)
    with TestClient(app) as client, ThreadPoolExecutor(1) as pool:
        assert measured(client) == {"ddfm_requests_taken": 0, "ddfm_requests_most": 2}
        first = pool.submit(fuse, client, pair())
        assert asked.wait(60)
        assert measured(client)["ddfm_requests_taken"] == 1
        assert client.post("/fuse").status_code == 400  # while the first is held
        may_go.set()
        assert first.result().status_code == 200
        now = measured(client)
    seconds, count = "ddfm_request_seconds_sum", "ddfm_request_seconds_count"
    assert [now[f'{count}{{status="{status}"}}'] for status in (200, 400)] == [1, 1]
    assert now[f'{seconds}{{status="200"}}'] > now[f'{seconds}{{status="400"}}']
    assert now["ddfm_requests_taken"] == 0


def test_clients_that_hang_up_are_counted_apart(prior):
    app = make_app(Service(device="cpu"), prior)
    kind = (b"content-type", b"multipart/form-data; boundary=X")
    scope = {"type": "http", "method": "POST", "path": "/fuse", "query_string": b""}
    heard = iter([{"type": "http.request", "body": b"--X\r\n", "more_body": True}])

    async def receive():
        return next(heard, {"type": "http.disconnect"})

    async def send(_):
        pass

    asyncio.run(app(scope | {"headers": [kind]}, receive, send))
    now = measured(TestClient(app))
    assert now['ddfm_request_seconds_count{status="499"}'] == 1
    assert [name for name in now if "count" in name] == ['ddfm_request_seconds_count{status="499"}']


def test_requests_of_clients_that_hang_up_are_ended_and_leave_the_queue(prior, monkeypatch):
    """The first while it is fused, after the step that it is at, the second while it waits."""
    waiting, asked, may_go = held(prior)
    evaluated, kept = [], type(waiting).__call__
    monkeypatch.setattr(
        type(waiting), "__call__", lambda self, x, t: (evaluated.append(t), kept(self, x, t))[1]
    )
    app = make_app(Service(device="cpu", limits=Limits(queue=2)), waiting)
    client = TestClient(app)
    data = {"options": json.dumps(OPTIONS | {"steps": 9})}
    request = client.build_request("POST", "/fuse", files=pair(), data=data)
    kind = [(b"content-type", request.headers["content-type"].encode())]
    scope = {"type": "http", "method": "POST", "path": "/fuse", "query_string": b""}

    async def abandoned(left):
        heard = iter([{"type": "http.request", "body": request.read()}])

        async def receive():
            if (message := next(heard, None)) is None:
                await left.wait()
            return message or {"type": "http.disconnect"}

        async def send(_):
            raise AssertionError("nobody listens")

        await app(scope | {"headers": list(kind)}, receive, send)

    async def both():
        left = asyncio.Event()
        tasks = [asyncio.ensure_future(abandoned(left)) for _ in range(2)]
        while not asked.is_set() or measured(client)["ddfm_requests_taken"] < 2:
            await asyncio.sleep(0.01)
        left.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 60)  # while the first is held

    asyncio.run(both())
    now = measured(client)
    assert now['ddfm_request_seconds_count{status="499"}'] == 2
    assert now["ddfm_requests_taken"] == 0 and len(evaluated) == 1
    may_go.set()
    assert fuse(client, pair()).status_code == 200
    assert len(evaluated) == 1 + OPTIONS["steps"]


def test_it_answers_while_a_picture_is_encoded(client, monkeypatch):
    encodes, may_go, kept = threading.Event(), threading.Event(), Fusion.save

    def save(self, *arguments, **keywords):
        encodes.set()
        assert may_go.wait(60)
        return kept(self, *arguments, **keywords)

    monkeypatch.setattr(Fusion, "save", save)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(fuse, client, pair())
        try:
            assert encodes.wait(60)
            assert pool.submit(client.get, "/healthz").result(60).json()["taken"] == 1
        finally:
            may_go.set()
        assert first.result().status_code == 200


def test_a_request_that_takes_too_long_is_ended(prior):
    waiting, _, may_go = held(prior)
    app = make_app(Service(device="cpu", limits=Limits(seconds=0.3)), waiting)
    with TestClient(app) as client:
        answer = fuse(client, pair())
        assert answer.status_code == 408
        assert "0.3 seconds" in answer.json()["error"]
        assert client.get("/healthz").json()["taken"] == 0
        may_go.set()


@pytest.mark.parametrize("options", [OPTIONS, {"method": "dmfuse"}])
def test_a_request_that_takes_too_long_is_ended_before_the_next_look_at_a_source(
    prior, monkeypatch, options
):
    """Those of a large picture take minutes, and other requests wait for them."""
    looks, goes_on, may_go = threading.Event(), threading.Event(), threading.Event()

    def look(_):
        looks.set()
        assert may_go.wait(60)

    monkeypatch.setattr(defects, "find_quality", look)
    monkeypatch.setattr(defects, "find_frame", lambda _: goes_on.set())
    service = Service(device="cpu", limits=Limits(seconds=0.5))
    app = make_app(service, load_prior("default") if "method" in options else prior)
    with TestClient(app) as client:
        answer = fuse(client, pair(), options)
        assert answer.status_code == 408 and looks.is_set()
        may_go.set()
    assert not goes_on.is_set()  # the thread has ended with the application


def test_no_request_of_many_is_lost(client):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda k: fuse(client, pair()), range(24)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1


def test_many_pictures_may_have_four_times_the_pixels_of_one(client, monkeypatch):
    """A thousand flat ones of 50 megapixels would fit into an upload, and into no memory."""
    monkeypatch.setenv("DDFM_MAX_MEGAPIXELS", str(24 * 20 / 1e6))
    options = OPTIONS | {"likelihood": "default", "task": "multi-focus"}
    assert fuse(client, [png(k) for k in range(4)], options).status_code == 200
    answer = fuse(client, [png(k) for k in range(6)], options)
    assert answer.status_code == 400
    assert "6 images are too many of this size" in answer.json()["error"]


def test_other_host_names_are_refused(prior):
    app = make_app(Service(device="cpu", hosts=("localhost",)), prior)
    with TestClient(app, base_url="http://evil.example") as client:
        assert client.get("/healthz").status_code == 400


def test_pages_of_other_sites_may_not_use_a_service_for_this_machine_only(prior, client):
    """A form on any page can send files to it, and needs no permission of the browser."""
    app = make_app(Service(device="cpu", hosts=("localhost",)), prior)
    with TestClient(app, base_url="http://localhost") as local:
        foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "http://a.example"}
        answer = fuse(local, pair(), headers=foreign)
        assert answer.status_code == 403 and "another web site" in answer.json()["error"]
        for site in ("same-origin", "none"):
            assert fuse(local, pair(), headers={"Sec-Fetch-Site": site}).status_code == 200
        assert fuse(local, pair()).status_code == 200
    assert fuse(client, pair(), headers=foreign).status_code == 200  # it is for others, too


def test_its_pages_load_nothing_from_other_hosts(client):
    assert client.get("/openapi.json").json()["paths"].keys() == {"/fuse", "/healthz", "/metrics"}
    page = client.get("/docs")
    assert "http" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def sent_by_a_browser(client, files):
    """The request of a form, in which empty fields are files without a name."""
    parts = [b'"options"\r\n\r\n' + json.dumps(OPTIONS).encode()]
    for _, (name, data) in files:
        parts.append(f'"sources"; filename="{name}"\r\n\r\n'.encode() + data)
    body = b"".join(b"--x\r\nContent-Disposition: form-data; name=" + p + b"\r\n" for p in parts)
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    return client.post("/fuse", content=body + b"--x--\r\n", headers=kind)


def test_the_form_sends_requests_that_the_service_accepts(client):
    """Its choices are options, and empty fields are no files."""
    text = html.unescape(client.get("/").text)
    options = [json.loads(value) for value in re.findall(r"value=['\"]({.*?})['\"]>", text)]
    assert {} in options and {"task": "medical"} in options
    assert all(FusionConfig(**chosen) for chosen in options)
    empty = "sources", ("", b"")
    answer = sent_by_a_browser(client, [*pair(), empty])
    assert answer.content == fuse(client, pair()).content
    assert "pass two" in sent_by_a_browser(client, [png(1), empty, empty]).json()["error"]


def test_errors_are_a_page_for_browsers_and_json_for_programs(prior):
    """A browser asks for HTML, and the name of a file may be anything."""
    service = Service(device="cpu", limits=Limits(upload=1000))
    asks = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    with TestClient(make_app(service, prior)) as client:
        for data, status, words in (
            (b"no picture", 400, "&lt;b&gt;.png is not an image"),
            (bytes(2000), 413, "larger than the limit of 0.001 MB"),
        ):
            files = [("sources", ("<b>.png", data)), ("sources", ("v.png", b""))]
            page = client.post("/fuse", files=files, headers=asks)
            assert page.status_code == status and words in page.text, page.text
            assert page.headers["content-type"].startswith("text/html")
            assert page.headers["content-security-policy"].startswith("default-src 'none'")
            told = client.post("/fuse", files=files).json()["error"]
            assert html.escape(told) in page.text
