"""Metrics against the field's evaluator, other packages and closed forms, and their guarantees."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddfm
from ddfm import metrics
from ddfm.errors import DdfmError
from ddfm.metrics import LOWER_IS_BETTER, METRICS, evaluate
from flir_files import flir_jpeg
from places import DATA, EXAMPLES

pytestmark = pytest.mark.filterwarnings("error")

GOLDEN = json.loads((DATA / "reference_metrics.json").read_text())
INDEPENDENT = json.loads((DATA / "metrics_independent.json").read_text())
INDEPENDENT.pop("about")


@pytest.fixture(scope="module")
def golden_images():
    with np.load(DATA / "reference_metrics.npz") as file:
        return dict(file)


def scene(seed: int = 0, shape: tuple[int, int] = (64, 72)) -> np.ndarray:
    """A random grey image with smooth and rough parts, 8-bit."""
    generator = np.random.default_rng(seed)
    coarse = generator.normal(size=(shape[0] // 8 + 1, shape[1] // 8 + 1))
    image = 60 * np.kron(coarse, np.ones((8, 8)))[: shape[0], : shape[1]]
    return np.clip(np.rint(120 + image + 12 * generator.normal(size=shape)), 0, 255).astype("uint8")


@pytest.fixture
def triple():
    a, b = scene(1), scene(2)
    return np.maximum(a, b), a, b


# Numbers of others


@pytest.mark.parametrize("case", GOLDEN)
def test_agrees_with_the_evaluator_of_the_field(case, golden_images):
    values = evaluate(*(golden_images[f"{case}_{name}"] for name in "FAB"))
    for name, expected in GOLDEN[case].items():
        assert values[name] == pytest.approx(expected, rel=1e-6), name


def independent_case():
    a, b = (
        metrics.as_grey(EXAMPLES / f"olinda_{name}.png").pixels[:256, :256]
        for name in ("visible", "infrared")
    )
    return np.rint(np.clip(64 + 1.2 * ((a + b) / 2 - 64), 0, 255)), a, b


def test_agrees_with_other_packages():
    values = evaluate(*independent_case(), metrics=INDEPENDENT)
    for name, expected in INDEPENDENT.items():
        assert values[name] == pytest.approx(expected, rel=2e-7), name


@pytest.mark.parametrize("data_range", [2.0, 255.0])
def test_ssim_is_that_of_scikit_image(triple, data_range):
    other = pytest.importorskip("skimage.metrics").structural_similarity
    f, *sources = triple
    expected = sum(other(f.astype(float), s.astype(float), data_range=data_range) for s in sources)
    assert metrics.ssim(*triple, data_range=data_range) == pytest.approx(expected, rel=1e-9)
    assert evaluate(*triple, ssim_range=data_range)["SSIM"] == pytest.approx(expected, rel=1e-9)


def test_information_is_that_of_scikit_learn(triple):
    cluster = pytest.importorskip("sklearn.metrics")
    f, *sources = (image.ravel() for image in triple)
    information = sum(cluster.mutual_info_score(f, s) for s in sources)
    normalised = sum(cluster.normalized_mutual_info_score(f, s) for s in sources)
    assert metrics.mi(*triple) == pytest.approx(information, rel=1e-9)
    assert metrics.nmi(*triple) == pytest.approx(normalised, rel=1e-9)


def test_entropy_and_psnr_are_those_of_scikit_image(triple):
    measure = pytest.importorskip("skimage.measure")
    other = pytest.importorskip("skimage.metrics")
    f, a, _ = triple
    assert metrics.en(f) == pytest.approx(measure.shannon_entropy(f), rel=1e-12)
    expected = other.peak_signal_noise_ratio(a, f, data_range=255)
    assert metrics.psnr(f, a, peak=255) == pytest.approx(expected, rel=1e-12)


# Feature mutual information, against its definition


def joint_entropy_by_definition(p: np.ndarray, q: np.ndarray) -> float:
    """Entropy of the mixture J in the docstring of `features`, from all of its 81 entries."""
    x = np.arange(9.0)
    correlation = float((p - p.mean()) @ (q - q.mean()))
    energy = math.sqrt(float(((p - p.mean()) ** 2).sum() * ((q - q.mean()) ** 2).sum()))
    spreads = [math.sqrt(max(0.0, w @ x**2 - (w @ x) ** 2)) for w in (p, q)]
    joint = np.outer(p, q)
    if abs(correlation) > 1e-12 and min(spreads) > 1e-9:
        sign = math.copysign(1, correlation)
        big, other = np.cumsum(p), np.cumsum(q)
        if sign > 0:
            bound = np.minimum.outer(big, other)
        else:
            bound = np.maximum(np.add.outer(big, other) - 1, 0)
        bound = np.diff(np.diff(np.pad(bound, ((1, 0), (1, 0))), axis=0), axis=1)
        covariance = x @ bound @ x - (p @ x) * (q @ x)
        theta = correlation / energy / (covariance / spreads[0] / spreads[1])
        joint = theta * bound + (1 - theta) * joint
    joint = joint[np.abs(joint) > 1e-14]
    return -float((joint * np.log(np.abs(joint))).sum())


def fmi_by_definition(f: np.ndarray, s: np.ndarray) -> float:
    values = []
    for i in range(f.shape[0] - 2):
        for j in range(f.shape[1] - 2):
            windows = [image[i : i + 3, j : j + 3].T.ravel().astype(float) for image in (f, s)]
            if np.array_equal(*windows):
                values.append(1.0)
                continue
            p, q = (w - w.min() if np.ptp(w) else np.ones(9) for w in windows)
            p, q = p / p.sum(), q / q.sum()
            entropies = sum(-float((w[w > 0] * np.log(w[w > 0])).sum()) for w in (p, q))
            shared = entropies - joint_entropy_by_definition(p, q)
            values.append(2 * shared / entropies if entropies else 0.0)
    return float(np.mean(values))


@pytest.mark.parametrize("feature", ["pixel", "gradient"])
@pytest.mark.parametrize("kind", ["noise", "float", "steps", "points", "few levels"])
def test_fmi_follows_its_definition(feature, kind):
    generator = np.random.default_rng(3)
    f = generator.integers(0, 256, (14, 19)).astype(float)
    s = np.clip(f + generator.normal(0, 40, f.shape), 0, 255)
    if kind == "noise":
        s = np.rint(s)
    elif kind == "steps":  # many equal and many constant windows
        f, s = (np.where(image > 128, 200.0, 50.0) for image in (f, s))
        f[:, :9], s[:7, :9], s[7:, :9] = 80, 80, 90
    elif kind == "few levels":  # weights of J that cancel to nothing
        f, s = (np.floor(image / 64) for image in (f, s))
    elif kind == "points":  # windows with all their weight in one place
        f, s = (np.where(image > 240, 200.0, 0.0) for image in (f, s))
    maps = [np.gradient(image, axis=1) if feature == "gradient" else image for image in (f, s)]
    expected = fmi_by_definition(*maps)
    assert metrics.fmi(f, s, feature=feature) == pytest.approx(expected, abs=3e-7)


def test_fmi_counts_every_window_across_strips(monkeypatch, triple):
    whole = metrics.fmi(*triple)
    monkeypatch.setattr("ddfm.metrics.features.CHUNK", 200)
    assert metrics.fmi(*triple) == pytest.approx(whole, rel=1e-12)


# Closed forms


@pytest.mark.parametrize("levels", [1, 2, 16, 256])
def test_entropy_of_equally_frequent_levels(levels):
    image = np.arange(4096).reshape(64, 64) % levels
    assert metrics.en(image) == pytest.approx(math.log2(levels), abs=1e-12)


def test_spread_and_sharpness_of_a_ramp():
    ramp = np.tile(np.arange(0, 120, 3.0), (30, 1))
    assert metrics.sf(ramp) == pytest.approx(3)
    assert metrics.ag(ramp) == pytest.approx(3 / math.sqrt(2))
    assert metrics.sd(np.array([[10, 30], [30, 10]])) == pytest.approx(10)


def test_error_of_an_offset():
    image = scene() // 2
    assert metrics.mse(image + 6, image, image) == pytest.approx(36)
    expected = 10 * math.log10(float(image.max() + 6) ** 2 / 36)
    assert metrics.psnr(image + 6, image) == pytest.approx(expected)
    assert metrics.psnr(image, image) == math.inf


def test_correlation_of_affine_images():
    image = scene() / 2
    assert metrics.cc(image + 20, image) == pytest.approx(1)
    assert metrics.cc(200 - image, image) == pytest.approx(-1)


def test_scd_of_a_sum_is_perfect():
    a, b = scene(1) // 2, scene(2) // 2
    assert metrics.scd(a + b, a, b) == pytest.approx(2)


def test_identical_images():
    image = scene()
    values = evaluate(image, image, image)
    assert values["MI"] == pytest.approx(2 * values["EN"] * math.log(2))
    perfect = {
        "NMI": 2, "CC": 1, "PSNR": math.inf, "MSE": 0, "SCD": 0, "VIF": 2, "Nabf": 0, "SSIM": 2,
        "SSIM_data_range_2": 2, "SSIM_data_range_255": 2, "MS-SSIM": 2, "FMI_pixel": 1,
        "FMI_gradient": 1, "QCB": 1, "QCV": 0,
    }  # fmt: skip
    for name, expected in perfect.items():
        assert values[name] == pytest.approx(expected, abs=1e-9), name
    # Its sigmoids never quite reach 1.
    assert values["Qabf"] == pytest.approx(0.9994 * 0.9879 / (1 + math.exp(-22 * 0.2)), rel=1e-3)


@pytest.mark.parametrize("gain", [0.5, 1.0, 3.0])
def test_vif_of_a_pure_gain(gain):
    """For variances far below the eye's noise, log(1 + x) is about x and VIF the gain squared."""
    faint = 0.01 * np.random.default_rng(0).normal(size=(64, 64))
    assert metrics.vif(100 + gain * faint, 100 + faint) == pytest.approx(gain**2, rel=1e-3)
    assert metrics.vif(100 - gain * faint, 100 + faint) == 0


def test_vif_where_the_source_is_all_but_flat():
    """Black with one brighter pixel; the value is that of the evaluator's formula in scipy."""
    source, fused = np.zeros((64, 64)), np.zeros((64, 64))
    source[32, 32] = 5
    fused[29:36, 27:38] = 200
    assert metrics.vif(fused, source) == pytest.approx(21.193463433570127, rel=1e-9)


def test_a_flat_result_has_neither_kept_nor_invented_edges():
    f = np.full((64, 72), 90)
    values = evaluate(f, scene(1), scene(2))
    assert values["EN"] == values["SD"] == values["AG"] == values["Nabf"] == values["CC"] == 0
    assert values["VIF"] == pytest.approx(0, abs=1e-6)
    assert values["Qabf"] < 0.1  # an edge there is: the frame against the black around it


def test_nabf_counts_edges_that_no_source_has(triple):
    f, a, b = triple
    invented = f.astype(float)
    invented[:, ::6] = 255 - invented[:, ::6]
    assert metrics.nabf(invented, a, b) > 5 * metrics.nabf(f, a, b)


# Invariances


def test_order_of_the_sources_does_not_matter(triple):
    f, a, b = triple
    assert evaluate(f, a, b) == pytest.approx(evaluate(f, b, a), rel=1e-12)


def test_turning_all_images_does_not_matter(triple):
    upright, turned = (
        evaluate(*images, metrics=METRICS) for images in (triple, [image.T for image in triple])
    )
    for name in METRICS:
        # FMI reads its windows column by column, and Qabf sees no half turn at the vertical.
        if not name.startswith("FMI") and name != "Qabf":
            assert turned[name] == pytest.approx(upright[name], rel=1e-6), name


@pytest.mark.parametrize("metric", [metrics.mi, metrics.nmi, metrics.cc, metrics.ssim, metrics.mse])
def test_symmetric_metrics(metric, triple):
    f, a, _ = triple
    assert metric(f, a) == pytest.approx(metric(a, f), rel=1e-12)


def test_mutual_information_does_not_change_if_levels_are_permuted(triple):
    f, a, b = triple
    relabelled = np.random.default_rng(0).permutation(256)[f]
    assert metrics.mi(relabelled, a, b) == pytest.approx(metrics.mi(f, a, b), rel=1e-12)


def test_perceptual_metrics_stretch_contrast(triple):
    f, a, b = (image // 2 * 2.0 for image in triple)
    f.flat[:2] = a.flat[:2] = b.flat[:2] = 0, 254
    for metric in (metrics.qcb, metrics.qcv):
        assert metric(f / 2, a, b) == pytest.approx(metric(f, a, b), rel=1e-12)


@pytest.mark.parametrize(
    "name", ["PSNR", "MSE", "CC", "VIF", "SSIM", "MS-SSIM", "FMI_pixel", "QCV", "QCB"]
)
def test_noise_makes_it_worse(name, triple):
    _, a, b = triple
    f = (a.astype(float) + b) / 2
    noise = np.random.default_rng(0).normal(size=f.shape)
    slight, strong = (
        evaluate(np.clip(f + s * noise, 0, 255), a, b, metrics=[name])[name] for s in (2, 30)
    )
    assert (strong > slight) == (name in LOWER_IS_BETTER)


def test_metrics_take_more_than_two_sources(triple):
    f, a, b = triple
    c = scene(5)
    for metric in (metrics.mi, metrics.nmi, metrics.vif, metrics.ssim, metrics.ms_ssim):
        assert metric(f, a, b, c) == pytest.approx(sum(metric(f, s) for s in (a, b, c))), metric
    for metric in (metrics.mse, metrics.cc, metrics.fmi):
        mean = sum(metric(f, s) for s in (a, b, c)) / 3
        assert metric(f, a, b, c) == pytest.approx(mean), metric
    values = evaluate(f, a, b, c)
    assert set(evaluate(f, a, b)) - set(values) == {"SCD"}
    assert set(evaluate(f, a, b, c, task="ir-visible")) == set(values)  # of two sources, all
    # A source that counts for nothing changes nothing where sources weigh by what they show.
    flat = np.zeros_like(a)
    for metric in (metrics.qcb, metrics.qcv):
        assert metric(f, a, b, flat) == pytest.approx(metric(f, a, b), rel=1e-9), metric


# Inputs


def test_each_metric_by_itself_is_what_evaluate_gives(triple):
    together = evaluate(*triple)
    assert list(together) == [name for name in METRICS if name in together]
    for name in together:
        assert evaluate(*triple, metrics=[name]) == {name: together[name]}
    for name, metric in [("EN", metrics.en), ("Qabf", metrics.qabf), ("QCB", metrics.qcb)]:
        assert metric(*triple[: 1 if name == "EN" else 3]) == together[name]


def test_names_are_case_insensitive(triple):
    assert list(evaluate(*triple, metrics=["qABF", "ssim"])) == ["Qabf", "SSIM"]


def test_all_values_are_plain_floats(triple):
    assert {type(value) for value in evaluate(*triple).values()} == {float}


@pytest.mark.parametrize("kind", ["float", "rgb", "rgba", "pil", "path", "text path", "palette"])
def test_an_image_is_measured_the_same_in_every_form(kind, triple, tmp_path):
    f, a, b = triple
    forms = {
        "float": lambda x: x.astype(np.float32),
        "rgb": lambda x: np.stack([x] * 3, axis=-1),
        "rgba": lambda x: np.stack([x] * 3 + [255 - x], axis=-1),
        "pil": Image.fromarray,
        "palette": lambda x: Image.fromarray(x).convert("P"),
        "path": lambda x: _saved(x, tmp_path / "f.png"),
        "text path": lambda x: str(_saved(x, tmp_path / "f.tif")),
    }
    assert evaluate(forms[kind](f), a, b) == evaluate(f, a, b)


def _saved(image: np.ndarray, path: Path) -> Path:
    Image.fromarray(image).save(path)
    return path


def test_colour_is_measured_in_grey():
    generator = np.random.default_rng(0)
    colour = generator.integers(0, 256, (48, 50, 3), dtype=np.uint8)
    r, g, b = np.moveaxis(colour.astype(float), -1, 0)
    grey = np.rint(0.299 * r + 0.587 * g + 0.114 * b)
    np.testing.assert_array_equal(metrics.as_grey(colour).pixels, grey)
    np.testing.assert_array_equal(metrics.as_grey(Image.fromarray(colour)).pixels, grey)


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    image = scene()
    Image.fromarray(image.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(metrics.as_grey(tmp_path / "deep.png").pixels, image)
    uneven = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(uneven).save(tmp_path / "uneven.png")
    pixels = metrics.as_grey(tmp_path / "uneven.png").pixels
    np.testing.assert_array_equal(pixels, np.rint(uneven / 257))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (20, 30), (-1, 1)])
def test_files_of_floats_are_scaled_as_in_fusion(tmp_path, low, high):
    """Black is 0 and white is 1, or else the lowest and the highest of their values."""
    image = scene()
    image.flat[:2] = 0, 255
    values = low + image.astype(np.float32) / 255 * (high - low)
    Image.fromarray(values).save(tmp_path / "float.tif")
    np.testing.assert_array_equal(metrics.as_grey(tmp_path / "float.tif").pixels, image)


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_results_of_ddfm_are_measured_in_every_form(tmp_path, dtype, color):
    shape = (64, 72, 3) if color else (64, 72)
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype)
    fusion = ddfm.Fusion(ddfm.Picture(image.reshape(64, 72, -1) / np.iinfo(dtype).max, None,
                                      np.dtype(dtype)), {})  # fmt: skip
    fusion.save(tmp_path / "fused.png")
    sources = scene(1), scene(2)
    expected = evaluate(tmp_path / "fused.png", *sources)
    for form in (fusion, fusion.picture, fusion.image):
        assert evaluate(form, *sources) == expected


def test_transparency_is_dropped():
    image = scene()
    np.testing.assert_array_equal(metrics.as_grey(np.dstack([image, image // 2])).pixels, image)


def test_metrics_are_available_after_import_ddfm():
    code = "import ddfm; ddfm.metrics.qabf; assert 'metrics' in dir(ddfm)"
    subprocess.run([sys.executable, "-c", code], check=True)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # whoever imports it now gets an ImportError
from ddfm.metrics import METRICS, evaluate
assert list(evaluate(*sys.argv[1:4], metrics=METRICS)) == list(METRICS)
from ddfm.metrics.folders import evaluate_folders
from ddfm.cli import main
main(["metrics", *sys.argv[1:4], "--task", "ir-visible"])
"""


def test_metrics_need_no_torch(tmp_path):
    """Files are read, measured and printed where torch is not installed."""
    rng = np.random.default_rng(0)
    files = []
    for name in ("fused.png", "ir.tif", "vis.jpg"):
        image = Image.fromarray(
            scene(shape=(80, 90)) // 2 + rng.integers(0, 99, (80, 90), np.uint8)
        )
        image.save(tmp_path / name)
        files.append(str(tmp_path / name))
    code = [sys.executable, "-c", WITHOUT_TORCH, *files]
    done = subprocess.run(code, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Qabf" in done.stdout and "targets_kept" in done.stdout


def test_files_are_read_as_in_fusion(tmp_path):
    """Palettes, transparency and the orientation in EXIF do not change the values."""
    colour = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise
    Image.fromarray(colour).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(colour).convert("RGBA").save(tmp_path / "clear.png")
    expected = metrics.as_grey(colour).pixels
    np.testing.assert_array_equal(
        metrics.as_grey(tmp_path / "turned.png").pixels, np.rot90(expected, -1)
    )
    np.testing.assert_array_equal(metrics.as_grey(tmp_path / "clear.png").pixels, expected)


def test_sources_of_thermal_cameras_are_read_as_in_fusion(tmp_path, triple):
    """The sensor's values of a radiometric file, and 16 bits stretched from part of the range."""
    f, a, b = triple
    whole = np.rint((a - a.min()) * (255 / np.ptp(a))).astype(np.uint8)
    expected = evaluate(f, whole, b, metrics=["MI", "VIF", "SSIM"])
    Image.fromarray(whole.astype(np.uint16) * 20 + 7000).save(tmp_path / "thermal.png")
    (tmp_path / "flir.jpg").write_bytes(flir_jpeg(whole.astype(np.uint16) * 20 + 10000, None))
    for name, atol in (("thermal.png", 0.05), ("flir.jpg", 0.3)):  # a few pixels are clipped
        values = evaluate(f, tmp_path / name, b, metrics=["MI", "VIF", "SSIM"])
        assert {k: v for k, v in values.items() if abs(v - expected[k]) > atol} == {}, name


def test_a_thermal_source_is_measured_the_same_in_every_form(tmp_path, triple):
    f, a, b = triple
    path = _saved(a.astype(np.uint16) * 20 + 7000, tmp_path / "thermal.png")
    names = ["MI", "VIF", "SSIM"]
    expected = evaluate(f, path, b, metrics=names)
    read = ddfm.read_image(path)
    with Image.open(path) as image:
        forms = image, read, ddfm.read_image(path, levels="auto")
        assert [evaluate(f, form, b, metrics=names) for form in forms] == [expected] * 3
    assert evaluate(f, read.samples[..., 0], b, metrics=names) != expected, "arrays have a scale"


@pytest.mark.parametrize("value", [0, 77, 255])
def test_constant_images_are_measured_without_warnings(value):
    f, a, b = np.full((48, 50), value), scene(1, (48, 50)), np.zeros((48, 50))
    for images in [(f, a, b), (a, f, b), (f, f, f), (b, f, f)]:
        for name, number in evaluate(*images).items():
            assert math.isfinite(number) or name == "PSNR", name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:-1], r"source 1 is 72x64 pixels and the fused image 72x63"),
        (lambda x: x / 255, r"multiply by 255"),
        (lambda x: x.astype(np.uint16), r"16-bit values up to 2\d\d of 65535 .* give uint8"),
        (lambda x: x * 257.0, r"0\.\.255"),
        (lambda x: x - 500.0, r"0\.\.255"),
        (lambda x: np.where(x > 50, np.nan, x), "NaN or infinite"),
        (lambda x: x[None, None], r"shape \(1, 1, 64, 72\)"),
        (lambda x: x > 50, r"type bool"),
        (lambda x: x[:0], r"shape \(0, 72\)"),
        (lambda x: "nowhere.png", r"nowhere\.png: there is no such file"),
    ],
)
def test_wrong_images_are_named(change, message, triple):
    f, a, b = triple
    with pytest.raises(DdfmError, match=message) as caught:
        evaluate(change(f), a, b)
    assert "\n" not in str(caught.value)


def test_a_broken_file_is_named(tmp_path, triple):
    whole = _saved(triple[0], tmp_path / "whole.png")
    broken = tmp_path / "broken.png"
    broken.write_bytes(whole.read_bytes()[:300])
    with pytest.raises(DdfmError, match=r"broken\.png is truncated or damaged"):
        evaluate(broken, *triple[1:])


def test_wrong_calls_are_explained(triple):
    with pytest.raises(DdfmError, match="did you mean Qabf"):
        evaluate(*triple, metrics=["Qabff", "EN"])
    with pytest.raises(DdfmError, match="at least two sources"):
        evaluate(*triple[:2])
    with pytest.raises(DdfmError, match="unknown feature 'edge'"):
        metrics.fmi(*triple, feature="edge")
    with pytest.raises(DdfmError, match="peak must be a finite number above 0, not nan"):
        metrics.psnr(*triple, peak=math.nan)
    with pytest.raises(
        DdfmError, match=r"VIF needs images of at least 41x41 pixels, not 40x50; leave smaller"
    ):
        metrics.vif(*(image[:50, :40] for image in triple))
