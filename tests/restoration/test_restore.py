"""Degraded sources: detection and restoration; clean sources are unchanged."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from ddfm import DdfmError, Fuser, Observation, read_image
from ddfm.errors import DdfmWarning
from ddfm.numerics.noise_level import noise_level
from ddfm.numerics.planes import plane
from ddfm.restoration.dead_pixels import find_dead, mended
from ddfm.restoration.frame import find_frame
from ddfm.restoration.jpeg import find_quality, held_to_file, quantisation
from ddfm.restoration.latent import tensor_power
from ddfm.restoration.observation import AS_IT_IS
from ddfm.restoration.restore import restored
from ddfm.restoration.sharpening import LARGE
from ddfm.restoration.stripes import find_stripes
from places import EXAMPLES
from scenes import as_jpeg, psnr, rounded

RNG = np.random.default_rng(0)


def example(name: str) -> np.ndarray:
    """(360, 480) or so, levels from 0 to 255, sides multiples of 8."""
    plane = np.asarray(Image.open(EXAMPLES / f"olinda_{name}.png").convert("L"))
    h, w = (n // 8 * 8 for n in plane.shape)
    return plane[:h, :w]


INFRARED, VISIBLE = example("infrared"), example("visible")


def latent(fuser: Fuser, first: np.ndarray, given: Observation | None = None) -> np.ndarray:
    fusion = fuser.with_config(observations=[given, None])(first, VISIBLE)
    return 255 * fusion.sources[0].pixels[..., 0]


def slice_in_black(name: str) -> np.ndarray:
    """A slice as in data sets: black around the head."""
    plane = np.asarray(Image.open(EXAMPLES / f"brain_{name}.png").convert("L"))
    return np.where(ndimage.uniform_filter(plane.astype(float), 9) > 25, plane, 0).astype(np.uint8)


PAIRS = {"ir-visible": (INFRARED, VISIBLE), "medical": (slice_in_black("t1"), slice_in_black("pd"))}


@pytest.mark.parametrize("task", PAIRS)
def test_clean_pairs_are_not_changed(fuser, task):
    """The same pixels, and nothing detected: the fusion is the one without detection."""
    sources = PAIRS[task]
    fuser = fuser.with_config(task=task)
    looked = fuser(*sources)
    assert "observed" not in looked.settings
    for picture, path in zip(looked.sources, sources, strict=True):
        assert np.array_equal(picture.pixels, read_image(path).pixels)
    left = fuser.with_config(observations=[AS_IT_IS, AS_IT_IS])(*sources)
    assert np.array_equal(looked.image, left.image)


@pytest.mark.parametrize("sigma", [12, 25])
@pytest.mark.parametrize("side", [40, 120, 344])
def test_white_noise_is_not_detected_as_stripes(side, sigma):
    """The means of its columns differ, too, but only by chance."""
    noise = np.random.default_rng(side).normal(0, sigma, (side, side))
    plane = (INFRARED[:side, :side] + noise) / 255
    assert not find_stripes(plane).sure and not find_stripes(plane.T).sure
    assert find_stripes(plane + np.random.default_rng(1).normal(0, sigma, side) / 255).sure


def test_noise_is_kept_where_zero_is_given(fuser):
    noisy = rounded(INFRARED + np.random.default_rng(1).normal(0, 12, INFRARED.shape))
    assert np.abs(latent(fuser, noisy) - noisy).max() > 5  # found out, and removed
    assert np.array_equal(np.rint(latent(fuser, noisy, Observation(noise=0))), noisy)
    removed = [noisy - latent(fuser, noisy, Observation(noise=level)) for level in (4, 12)]
    assert removed[0].std() < 0.8 * removed[1].std()  # what is said, and no more


def test_a_small_picture_is_enlarged_better_than_bicubically(fuser):
    h, w = INFRARED.shape
    small = rounded(INFRARED.reshape(h // 4, 4, w // 4, 4).mean((1, 3)))
    bicubic = Image.fromarray(small).resize((w, h), Image.Resampling.BICUBIC)
    fuser = fuser.with_config(observations=[Observation(noise=0), None])  # roofs look like noise
    fusion = fuser(small, VISIBLE)
    assert fusion.image.shape == VISIBLE.shape
    assert fusion.settings["observed"][0] == {"scale": 4.0}
    x = 255 * fusion.sources[0].pixels[..., 0]
    assert psnr(x, INFRARED) > psnr(np.asarray(bicubic), INFRARED) + 0.4
    # What it says of its own pixels still holds.
    assert np.abs(x.reshape(h // 4, 4, w // 4, 4).mean((1, 3)) - small).mean() < 1


def test_a_large_picture_is_enlarged_equally_well():
    """It starts at half the size and takes few iterations, where a smaller one takes many."""
    size = (1480, 1400)
    truth, guide = (
        np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.LANCZOS))
        for plane in (INFRARED, VISIBLE)
    )
    assert truth.size > LARGE
    small = rounded(truth.reshape(185, 8, 175, 8).mean((1, 3)))
    pictures = [read_image(small), read_image(guide)]
    given = [AS_IT_IS, AS_IT_IS]
    (done, _), found = restored(pictures, given, [size, size], None, clean=1.0)
    assert found[0] == {"scale": 8.0}
    x = 255 * done.pixels[..., 0]
    bicubic = Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC)
    assert psnr(x, truth) > psnr(np.asarray(bicubic), truth) + 0.4
    assert np.abs(x.reshape(185, 8, 175, 8).mean((1, 3)) - small).mean() < 1


def test_no_detail_is_copied_from_the_guide(fuser):
    """A flat source stays flat for any photograph."""
    flat = np.full((INFRARED.shape[0] // 4, INFRARED.shape[1] // 4), 120, np.uint8)
    assert np.ptp(latent(fuser, flat)) < 1


@pytest.mark.parametrize(("size", "fits"), [((90, 120), True), ((90, 121), False)])
def test_pictures_of_one_shape_need_no_setting_for_their_sizes(fuser, size, fits):
    large = np.asarray(Image.fromarray(VISIBLE).resize((480, 360)))
    small = np.asarray(Image.fromarray(INFRARED).resize(size[::-1]))
    if fits:
        assert fuser(small, large).image.shape == (360, 480)
        return
    with pytest.raises(DdfmError, match="--resize a"):
        fuser(small, np.pad(large, ((0, 30), (0, 0))))


def test_blur_is_undone_where_it_is_given(fuser):
    blurred = rounded(ndimage.gaussian_filter(INFRARED.astype(float), 1.5))
    kept = latent(fuser, blurred, Observation(blur=0))
    assert psnr(kept, INFRARED) == pytest.approx(psnr(blurred, INFRARED))
    x = latent(fuser, blurred, Observation(blur=1.5))
    assert psnr(x, INFRARED) > psnr(blurred, INFRARED) + 2


@pytest.mark.parametrize("way", ["columns", "rows"])
@pytest.mark.parametrize(("sigma", "gain"), [(6, 8.0), (2, 4.0)])
def test_stripes_are_detected_and_removed(fuser, way, sigma, gain):
    h, w = INFRARED.shape
    offsets = sigma * RNG.standard_normal((1, w) if way == "columns" else (h, 1))
    striped = rounded(INFRARED + offsets)
    fusion = fuser(striped, VISIBLE)
    found = fusion.settings["observed"][0]["stripes"]
    assert list(found) == [way] and found[way] == pytest.approx(sigma, rel=0.25)
    x = 255 * fusion.sources[0].pixels[..., 0]
    assert psnr(x, INFRARED) > psnr(striped, INFRARED) + gain


@pytest.mark.parametrize("plane", [INFRARED, VISIBLE], ids=["infrared", "visible"])
def test_removal_of_absent_stripes_changes_little(plane):
    stripes = find_stripes(plane / 255)
    assert not stripes.sure
    assert psnr(plane - 255 * stripes.offsets, plane + 1e-6) > 50


def test_dead_pixels_are_detected_and_no_others():
    dead = RNG.random(INFRARED.shape) < 0.001
    plane = np.where(dead, 255 * RNG.integers(0, 2, dead.shape), INFRARED) / 255
    found = find_dead(plane)
    assert not (found & ~dead).any() and found.sum() > 0.2 * dead.sum()
    assert psnr(255 * mended(plane, found), INFRARED) > psnr(255 * plane, INFRARED) + 1
    assert not find_dead(INFRARED / 255).any() and not find_dead(VISIBLE / 255).any()


def test_small_hot_objects_on_a_map_are_no_dead_pixels(fuser, tmp_path):
    """Its pixels were resampled, and are not those of the sensor."""
    tifffile = pytest.importorskip("tifffile")
    hot = INFRARED.copy()
    hot[40:300:50, 40:400:60] = 255
    place = [(33550, "d", 3, (1.0, 1.0, 0.0), True), (33922, "d", 6, (0, 0, 0, 5e5, 5e6, 0), True)]
    found = []
    for extratags in ([], place):
        tifffile.imwrite(tmp_path / "a.tif", hot, extratags=extratags)
        fusion = fuser(tmp_path / "a.tif", VISIBLE)
        found.append(fusion.settings.get("observed", [{}])[0].get("dead", 0))
    assert found[0] >= 4 and found[1] == 0


CORNERS = {"upright": None, "turned": [[40, 20], [430, 45], [410, 300], [15, 280]]}


@pytest.mark.parametrize("kind", CORNERS)
def test_frames_are_detected(kind):
    h, w = INFRARED.shape
    truth = np.zeros((h, w), bool)
    truth[30:-40, 50:-30] = True
    if CORNERS[kind] is not None:
        from PIL import ImageDraw

        mask = Image.new("1", (w, h))
        scaled = [(x * w / 480, y * h / 330) for x, y in CORNERS[kind]]
        ImageDraw.Draw(mask).polygon(scaled, fill=1)
        truth = np.array(mask)
    found = find_frame(np.where(truth, INFRARED / 255, 0))
    assert found is not None
    assert not (found & ~truth).sum() > 0.001 * truth.sum()
    assert (truth & ~found).sum() < 0.03 * truth.sum()


@pytest.mark.parametrize("name", ["olinda_infrared", "olinda_visible", "brain_t1", "brain_pd"])
def test_scenes_are_not_detected_as_frames(name):
    plane = np.asarray(Image.open(EXAMPLES / f"{name}.png").convert("L")) / 255
    assert find_frame(plane) is None


def test_a_round_object_on_black_is_not_a_frame():
    """A brain on black, with so few pixels that its outline has eight straight parts."""
    y, x = np.mgrid[:128, :128] - 63.5
    head = np.maximum(np.maximum(abs(x), abs(y)), (abs(x) + abs(y)) / 1.35) < 30
    assert find_frame(np.where(head, 0.6, 0)) is None


@pytest.mark.filterwarnings("ignore:.* of the pixels have no data")  # where both have a frame
@pytest.mark.parametrize(
    ("task", "given", "framed"),
    [("ir-visible", None, True), ("medical", None, False), ("medical", True, True)],
)
def test_a_head_in_air_has_no_frame(fuser, task, given, framed):
    """A slice cropped at the head has dark corners, as a rotated picture has."""
    t1, pd = slice_in_black("t1"), slice_in_black("pd")
    rows, columns = (np.flatnonzero(t1.any(axis=axis)) for axis in (1, 0))
    cut = slice(rows[0] + 16, rows[-1] - 15), slice(columns[0] + 16, columns[-1] - 15)
    fuser = fuser.with_config(task=task, observations=[Observation(frame=given), None])
    settings = fuser(t1[cut], pd[cut]).settings
    assert ("frame" in settings.get("observed", [{}])[0]) == framed


def test_a_frame_shows_no_rim(fuser):
    """Levels jump no more at the frame's border than in the fusion of pictures without a frame."""
    framed = np.zeros_like(INFRARED)
    framed[40:-40, 60:-60] = INFRARED[40:-40, 60:-60]

    def jump(image: np.ndarray) -> float:
        return float(np.abs(np.diff(image[40:-40, [59, 60]].astype(float), axis=1)).mean())

    whole, cut = fuser(INFRARED, VISIBLE).image, fuser(framed, VISIBLE)
    assert cut.settings["observed"][0]["frame"] == pytest.approx((framed > 0).mean(), abs=0.01)
    assert jump(cut.image) < jump(whole) + 1
    blind = fuser.with_config(observations=[Observation(frame=False), None])(framed, VISIBLE)
    assert jump(blind.image) > jump(whole) + 5


def test_quantisation_tables_are_those_of_libjpeg():
    for quality in (10, 30, 75, 95):
        buffer = io.BytesIO()
        Image.fromarray(INFRARED).save(buffer, "JPEG", quality=quality)
        table = Image.open(io.BytesIO(buffer.getvalue())).quantization[0]
        assert quantisation(quality).flatten().tolist() == list(table)


def test_a_restored_jpeg_stays_within_its_quantisation_intervals():
    """The original is within the intervals, so it is unchanged except for rounding."""
    file = as_jpeg(INFRARED, 30)
    x, y = (torch.from_numpy(p / 127.5 - 1)[None, None] for p in (INFRARED, file))
    assert (held_to_file(x, y, 30) - x).abs().mean() < 0.5 / 127.5
    flat = torch.zeros_like(y)
    assert (held_to_file(flat, y, 30) - y).abs().mean() < (flat - y).abs().mean() / 3


@pytest.mark.parametrize("quality", [10, 30, 55])
def test_the_quality_is_found_if_the_block_grid_is_intact(quality):
    file = as_jpeg(INFRARED, quality) / 255
    assert find_quality(file) == pytest.approx(quality, abs=2)  # some tables differ in little
    assert find_quality(file[3:, 5:]) is None


@pytest.mark.parametrize("plane", [INFRARED, VISIBLE], ids=["infrared", "visible"])
def test_pictures_with_little_or_no_compression_have_no_quality(plane):
    assert find_quality(plane / 255) is None
    assert find_quality(as_jpeg(plane, 90) / 255) is None


def test_jpeg_is_detected_and_undone_with_the_prior():
    fuser = Fuser(device="cpu", look=False)
    file = as_jpeg(INFRARED, 30)
    fusion = fuser(file, VISIBLE)
    assert fusion.settings["observed"][0] == {"jpeg": 30}
    x = 255 * fusion.sources[0].pixels[..., 0]
    assert psnr(x, INFRARED) > psnr(file, INFRARED) + 0.4


def test_noise_in_a_jpeg_is_removed_and_causes_no_warning_if_it_is_specified(fuser):
    clean = ndimage.gaussian_filter(VISIBLE.astype(float), 6)  # texture would hide it
    came = as_jpeg(rounded(clean + 12 * RNG.standard_normal(clean.shape)), 50)
    for given in (None, [None, {"noise": 12}]):
        fusion = fuser.with_config(observations=given)(INFRARED, came)
        assert fusion.settings["observed"][1]["jpeg"] == 49  # its table is that of 50
        assert fusion.settings["observed"][1]["noise"] == pytest.approx(10.5, abs=2)
        assert fusion.warnings == ()
        assert psnr(255 * fusion.sources[1].pixels[..., 0], clean) > psnr(came, clean) + 1.5


def test_transparent_pixels_are_ignored(fuser):
    """As with a mask: the other source is visible there, and the result is opaque."""
    clear = np.zeros(INFRARED.shape, bool)
    clear[:, : INFRARED.shape[1] // 3] = True
    source = np.dstack([np.where(clear, 0, INFRARED), np.where(clear, 0, 255)]).astype(np.uint8)
    fusion = fuser(source, VISIBLE)
    found = fusion.settings["observed"][0]
    assert found == {"transparent": pytest.approx(clear.mean(), abs=1e-3)}
    assert (fusion.image[..., 1] == 255).all()
    inner = np.zeros_like(clear)
    inner[20:-20, 10 : INFRARED.shape[1] // 3 - 20] = True
    levels = fusion.image[..., 0]
    assert np.corrcoef(levels[inner], VISIBLE[inner])[0, 1] > 0.9
    both = fuser(source, np.dstack([VISIBLE, source[..., 1]]))
    assert (both.image[..., 1] == source[..., 1]).all()  # where both are clear, so is the result


def test_noise_of_chroma_is_removed_with_that_of_luminance():
    fuser = Fuser(device="cpu", look=False)
    color = np.stack([VISIBLE * share for share in (1.0, 0.8, 0.6)], axis=2)
    noisy = rounded(color + 20 * RNG.standard_normal(color.shape))
    y = fuser(INFRARED, noisy).sources[1].pixels * 255
    chroma = [x[..., 0].astype(float) - x[..., 2] for x in (y, noisy, color)]
    errors = [np.abs(x - chroma[2]).mean() for x in chroma[:2]]
    assert errors[0] < errors[1] / 2


def test_specified_noise_that_is_absent_causes_a_warning(fuser):
    with pytest.warns(DdfmWarning, match=r"the specified noise is 30 levels, but only \d"):
        fusion = fuser.with_config(observations=[{"noise": 30}, None])(INFRARED, VISIBLE)
    assert fusion.settings["observed"][0]["noise_there"] < 10


def test_pictures_too_small_for_an_estimate_cause_no_warning_about_noise(fuser):
    given = [{"noise": 30}, None]
    assert fuser.with_config(observations=given)(INFRARED[:8, :8], VISIBLE[:8, :8]).warnings == ()


def test_a_mask_that_leaves_nothing_is_refused(fuser, tmp_path):
    Image.new("L", INFRARED.shape[::-1]).save(tmp_path / "mask.png")
    given = [{"mask": str(tmp_path / "mask.png")}, None]
    with pytest.raises(DdfmError, match=r"mask\.png is black"):
        fuser.with_config(observations=given)(INFRARED, VISIBLE)


def test_powers_of_matrices_agree_with_numpy():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((5, 2, 2))
    matrices = root @ root.transpose(0, 2, 1) + 0.01 * np.eye(2)
    field = (torch.from_numpy(matrices[:, i, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
    xx, xy, yy = tensor_power(tuple(field), -0.7)
    values, vectors = np.linalg.eigh(matrices)
    expected = vectors @ (values[:, :, None] ** -0.7 * vectors.transpose(0, 2, 1))
    np.testing.assert_allclose(xx, expected[:, 0, 0])
    np.testing.assert_allclose(xy, expected[:, 0, 1], atol=1e-12)
    np.testing.assert_allclose(yy, expected[:, 1, 1])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"scale": 0.5}, "scale must be 1 or more"),
        ({"blur": -1}, "blur must be a number from 0 to 50"),
        ({"blur": [1, 2, 3]}, "length and angle"),
        ({"blur": ""}, "length and angle"),
        ({"blur": "a\0b"}, "blur must be a path"),
        ({"blur": [3, "x"]}, "the angle of a blur must be a number"),
        ({"mask": 3}, "mask must be a path"),
        ({"noise": "much"}, "noise must be a finite number"),
        ({"noise": ["rice", 3]}, "did you mean rician"),
        ({"noise": ["rician", 3, 4]}, "noise rician takes its standard deviation"),
        ({"noise": ["poisson", 0]}, "noise poisson must be a finite number above 0"),
        ({"stripes": "diagonal"}, "unknown stripes 'diagonal'"),
        ({"jpeg": 101}, "quality from 1 to 100"),
        ({"blurr": 1}, "did you mean blur"),
        ("noise", "an observation is an Observation"),
    ],
)
def test_invalid_observations_are_refused(given, why):
    with pytest.raises(DdfmError, match=why):
        Fuser("gaussian", observations=[given])


def test_more_observations_than_sources_are_refused(fuser):
    with pytest.raises(DdfmError, match="there are 3 observations for 2 sources"):
        fuser.with_config(observations=[{"noise": 1}, {}, {}])(INFRARED, VISIBLE)


def test_the_prior_separates_noise_from_the_texture_of_a_coarse_source():
    h, w = (n // 3 * 3 for n in INFRARED.shape)
    coarse = INFRARED[:h, :w].reshape(h // 3, 3, w // 3, 3).mean((1, 3))
    noisy = rounded(coarse + np.random.default_rng(3).normal(0, 10, coarse.shape))
    measured = 255 / 2 * noise_level(plane(noisy / np.float32(255)))
    fusion = Fuser(device="cpu", look=False)(noisy, VISIBLE[:h, :w])
    assert 9.5 < fusion.settings["observed"][0]["noise"] < 0.95 * measured
