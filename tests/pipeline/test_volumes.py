"""Volumes are fused slice by slice, continue after an interrupt, and may be moved."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import ddfm
from command_line import FAST, ddfm_run, refused
from ddfm.errors import DdfmError
from ddfm.imaging.colormaps import colored
from ddfm.pipeline.slices import kept_slices
from ddfm.pipeline.volumes import fuse_volumes
from ddfm.registration.space_files import write_space_transform
from ddfm.storage.manifest import Shard
from ddfm.volumes.files import read_volume, write_volume
from ddfm.volumes.intensity import scaled
from ddfm.volumes.montage import montage
from ddfm.volumes.volume import Volume, slices
from grids import head, turned

pytest.importorskip("nibabel")


@pytest.fixture(scope="module")
def fuser() -> ddfm.Fuser:
    return ddfm.Fuser("gaussian", likelihood="paper", steps=2, device="cpu", task="medical")


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ({"axis": "up"}, "unknown axis 'up'"),
        ({"window_b": "bran"}, "unknown window 'bran'"),
        ({"more_windows": ["4/0"]}, "a window is LEVEL/WIDTH"),
        ({"colormap_a": "hott"}, "unknown colour map 'hott'; did you mean hot"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_aligned(monkeypatch, option, why):
    monkeypatch.setattr("ddfm.pipeline.volumes.made_ready", lambda *_: pytest.fail("it began"))
    volume = Volume(np.zeros((3, 3, 3), np.float32), np.eye(4))
    with pytest.raises(DdfmError, match=why):
        fuse_volumes(volume, volume, **option)


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ({"window_a": "1/2"}, r"a is in colour, so it takes no window \(--window-a\)"),
        ({"colormap_b": "hot"}, r"b is in colour, so it takes no colormap \(--colormap-b\)"),
        ({"more_colormaps": [None, "hot"]}, r"c is in colour, so it takes no colormap"),
        ({"more_windows": [None, None, "1/2"]}, r"more_windows \(--window-c\) are for the third"),
        ({"more_colormaps": ["hot"] * 3}, r"more_colormaps \(--colormap-c\) are for the third"),
    ],
)
def test_options_that_a_volume_cannot_take_are_refused(fuser, option, why):
    values = np.zeros((3, 3, 3, 3), np.float32)
    a, b, c, c2 = (Volume(values, np.eye(4), name) for name in "abcc")
    with pytest.raises(DdfmError, match=why):
        fuse_volumes(a, b, fuser, more=[c, c2], **option)


def test_slices_are_fused_as_alone(fuser):
    mri, ct = head(), np.roll(head(), 2, 0) - 1000
    affine = turned((-1, 1, 4))
    fusion = fuse_volumes((mri, affine), (ct, affine), fuser, window_b="bone")
    assert fusion.values.shape == mri.shape and fusion.values.dtype == np.uint16
    a, _ = scaled(Volume(mri, affine))
    b, _ = scaled(Volume(ct, affine), "bone")
    k = 3
    alone = fuser(slices(b, affine, 2)[k], slices(a, affine, 2)[k]).image
    result = slices(fusion.values, affine, 2)[k] / 65535
    np.testing.assert_allclose(result, alone, atol=1e-5)
    kind = "20 x 18 x 6 voxels of 1 x 1 x 4 mm, grey uint16"
    shown = f"VolumeFusion({kind}, of the first volume + the second volume)"
    assert repr(fusion) == repr(replace(fusion, settings={})) == shown
    assert fusion.settings["axis"] == 2
    assert fusion.settings["black_and_white"][0] == [-500, 1300]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_axis_and_any_batch_give_a_similar_result(fuser, axis):
    mri, other = head((8, 10, 12)), np.roll(head((8, 10, 12)), 1, 1)
    one = fuse_volumes(mri, other, fuser, axis=axis).values
    three = fuse_volumes(mri, other, fuser, axis=axis, together=3).values
    assert one.shape == (8, 10, 12)
    assert np.abs(one.astype(int) - three).max() <= 2
    assert np.corrcoef(one.ravel(), (mri + other).ravel())[0, 1] > 0.9


def test_black_stays_black(fuser):
    mri = head()
    mri[..., :2] = 0
    fusion = fuse_volumes(mri, mri, fuser, axis=2)
    assert (fusion.values[..., :2] == 0).all() and fusion.values[..., 3].max() > 0


def test_the_second_volume_is_resampled_onto_the_grid_of_the_first(fuser):
    affine = turned((1, 1, 3), (5, 0, 0), (1, 2, 3))
    mri = head()
    pet = (head((10, 9, 18)), turned((2, 2, 1), (5, 0, 0), (1, 2, 3)))
    fusion = fuse_volumes((mri, affine), pet, fuser)
    assert fusion.values.shape == mri.shape
    np.testing.assert_array_equal(fusion.volume.affine, affine)


def test_an_activity_is_fused_in_luminance_and_keeps_its_colour(fuser):
    mri, pet = head(), np.zeros((20, 18, 6), np.float32)
    pet[6:14, 5:12, 1:5] = np.linspace(0.3, 1, 8)[:, None, None]
    fusion = fuse_volumes(mri, pet, fuser, axis=2, colormap_b="hot")
    values = fusion.volume.values
    assert fusion.values.shape == (*mri.shape, 3) and fusion.values.dtype == np.uint8
    cold = pet == 0
    assert np.ptp(values[cold], axis=-1).max() < 1e-6
    source = colored(np.clip(scaled(Volume(pet, np.eye(4)))[0], 0, 1), "hot")
    np.testing.assert_allclose(hue(values)[~cold], hue(source)[~cold], atol=0.02)


def test_a_pseudo_colour_volume_keeps_its_hues(fuser):
    rng = np.random.default_rng(0)
    colors = (np.kron(rng.random((5, 6, 2, 3)), np.ones((4, 3, 3, 1))) * 255).astype(np.uint8)
    fusion = fuse_volumes(head(), colors, fuser, axis=2)
    result, source = fusion.volume.values, colors / np.float32(255)
    strong = np.ptp(result, axis=-1) > 0.05
    assert strong.mean() > 0.3
    np.testing.assert_allclose(hue(result)[strong], hue(source)[strong], atol=0.02)


@pytest.mark.parametrize("first", ["grey", "colour"])
def test_color_names_the_volumes_in_the_callers_order(fuser, first):
    colors = (np.random.default_rng(0).random((20, 18, 6, 3)) * 255).astype(np.uint8)
    a, b = (head(), colors) if first == "grey" else (colors, head())
    shapes = {}
    for color in ("a", "b", "grey"):
        own = ddfm.Fuser(fuser.prior, likelihood="paper", steps=2, task="medical", color=color)
        shapes[color] = fuse_volumes(a, b, own, axis=2).values.shape
        assert own.config.color == color  # as the caller has it
    colored, plain = ("b", "a") if first == "grey" else ("a", "b")
    assert shapes[colored] == (20, 18, 6, 3)
    assert shapes[plain] == shapes["grey"] == (20, 18, 6)


def hue(rgb: np.ndarray) -> np.ndarray:
    """The direction of chroma as a complex number of modulus 1."""
    r, g, b = np.moveaxis(rgb.astype(np.float64), -1, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    chroma = (b - y) / 1.772 + 1j * (r - y) / 1.402
    return chroma / np.maximum(np.abs(chroma), 1e-9)


class Stopping:
    """Counts the slices that are fused, and stops at a given number."""

    def __init__(self, monkeypatch, stop: int | None = None) -> None:
        self.count, stream = 0, ddfm.Fuser.stream

        def counted(fuser, groups, **how):
            if self.count == stop:
                raise KeyboardInterrupt
            for fusion in stream(fuser, groups, **how):
                self.count += 1
                yield fusion

        monkeypatch.setattr(ddfm.Fuser, "stream", counted)


@pytest.mark.parametrize("colors", [False, True])
@pytest.mark.parametrize("together", [1, 4])
def test_an_interrupted_volume_continues_with_the_same_result(
    tmp_path, fuser, monkeypatch, colors, together
):
    sources = head((10, 12, 9)), np.roll(head((10, 12, 9)), 1, 1)
    how = {"axis": 2, "together": together, "colormap_b": "hot" if colors else None}
    whole = fuse_volumes(*sources, fuser, **how).values
    kept = tmp_path / "kept"
    with monkeypatch.context() as patch:
        Stopping(patch, stop=4)
        with pytest.raises(KeyboardInterrupt):
            fuse_volumes(*sources, fuser, keep=kept, **how)
    assert len(list(kept.glob("*.npy"))) == 4 // together
    counting = Stopping(monkeypatch)
    resumed = fuse_volumes(*sources, fuser, keep=kept, **how)
    assert counting.count == 3, "of 7 slices that are not black, 4 were there"
    np.testing.assert_array_equal(resumed.values, whole)


@pytest.mark.parametrize("together", [1, 2])
def test_shards_fuse_equal_parts_and_a_run_without_completes_them(tmp_path, fuser, together):
    mri, kept = head((10, 12, 12)), tmp_path / "kept"
    how = {"axis": 2, "together": together}
    whole = fuse_volumes(mri, mri, fuser, **how)
    busy = int((mri > 0).any(axis=(0, 1)).sum()) // together
    for k in (1, 2):
        fuse_volumes(mri, mri, fuser, keep=kept, shard=Shard(k, 3), **how)
        assert len(list(kept.glob("*.npy"))) == pytest.approx(k * busy / 3, abs=1)
    done = fuse_volumes(mri, mri, fuser, keep=kept, **how)
    np.testing.assert_array_equal(done.values, whole.values)


def test_slices_of_other_sources_or_settings_are_fused_again(tmp_path, fuser, monkeypatch):
    mri, other = head((10, 12, 9)), np.roll(head((10, 12, 9)), 1, 1)
    counting, counts = Stopping(monkeypatch), []
    changed = mri.copy()
    changed[5, 5, 4] += 9
    three = ddfm.Fuser("gaussian", likelihood="paper", steps=3, device="cpu", task="medical")
    for a, own, together in (
        (mri, fuser, 1), (mri, fuser, 1), (changed, fuser, 1), (changed, three, 1),
        (changed, three, 2), (changed, three, 2),
    ):  # fmt: skip
        before = counting.count
        fuse_volumes(a, other, own, axis=2, together=together, keep=tmp_path / "kept")
        counts.append(counting.count - before)
    assert counts == [7, 0, 1, 7, 7, 0]


def test_a_kept_slice_that_is_damaged_is_noticed(tmp_path, fuser, monkeypatch):
    mri, kept = head((10, 12, 9)), tmp_path / "kept"
    whole = fuse_volumes(mri, mri, fuser, axis=2, keep=kept).values
    path = min(kept.glob("*.npy"))
    path.write_bytes(path.read_bytes()[9:])
    np.testing.assert_array_equal(fuse_volumes(mri, mri, fuser, axis=2, keep=kept).values, whole)
    data, times = path.read_bytes(), path.stat()
    path.write_bytes(data[:9] + b"?" * 9 + data[18:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # by which it is known
    with pytest.raises(DdfmError, match="cannot continue from .*npy"):
        fuse_volumes(mri, mri, fuser, axis=2, keep=kept)
    again = fuse_volumes(mri, mri, fuser, axis=2, keep=kept, verify=True)
    np.testing.assert_array_equal(again.values, whole)


def test_kept_slices_are_removed_when_the_volume_is_written(tmp_path, fuser, monkeypatch):
    out = tmp_path / "out.nii.gz"

    def write() -> None:
        with kept_slices(out) as folder:
            fuse_volumes(head(), head(), fuser, axis=2, keep=folder).save(out)

    with monkeypatch.context() as patch:
        patch.setattr("ddfm.pipeline.volumes.write_volume", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write()
    (folder,) = tmp_path.iterdir()
    assert folder.name == ".ddfm-slices-out.nii.gz"
    counting = Stopping(monkeypatch)
    write()
    assert counting.count == 0 and list(tmp_path.iterdir()) == [out]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Stopping(patch, stop=0)
        with kept_slices(tmp_path / "other.nii.gz") as folder:
            fuse_volumes(head(), head(), fuser, axis=2, keep=folder)
    assert list(tmp_path.iterdir()) == [out], "no slice was fused, so none is kept"


def test_other_files_among_kept_slices_are_not_removed(tmp_path, fuser):
    mri = head()
    with kept_slices(tmp_path / "out.nii.gz") as folder:
        folder.mkdir()
        (folder / "note.txt").write_text("mine")
        fuse_volumes(mri, mri, fuser, axis=2, keep=folder)
    assert [path.name for path in folder.iterdir()] == ["note.txt"]
    (folder / "000001.npy").write_bytes(b"mine")
    with pytest.raises(DdfmError, match="000001.npy: it exists already"):
        fuse_volumes(mri, mri, fuser, axis=2, keep=folder)
    assert (folder / "000001.npy").read_bytes() == b"mine"


def test_montages_show_slices(tmp_path, fuser):
    mri = head()
    fusion = fuse_volumes((mri, turned((1, 2, 4))), mri, fuser)
    fusion.montage(tmp_path / "montage.png", count=3)
    width, height = 20 + 2, 36 + 2  # square pixels of 1 mm, and the gap
    image = np.asarray(Image.open(tmp_path / "montage.png"))
    assert image.shape[:2] == (3 * height, 3 * width)
    assert image[:36, :20].max() > 50
    montage([fusion.volume], tmp_path / "all.png", axis="sagittal", count=99)
    with Image.open(tmp_path / "all.png") as image:
        assert image.size == (20 * (18 + 2), 6 * 2 + 2)


def test_an_invalid_number_of_slices_together_is_refused():
    with pytest.raises(DdfmError, match="must be 1 or more"):
        fuse_volumes(head(), head(), together=0)


def test_thin_volumes_are_fused(tmp_path, fuser):
    """Down to a single voxel, along any axis, turned any way."""
    rng = np.random.default_rng(0)
    for number in range(40):
        shape = [int(rng.choice([1, 1, 2, 5])) for _ in range(3)]
        affine = np.eye(4)
        affine[:3, :3] = np.diag(rng.choice([-4, -1, 1, 4], 3))[rng.permutation(3)]
        sources = [(rng.integers(1, 900, shape).astype(np.int16), affine) for _ in range(2)]
        axis = (None, 0, 1, 2)[number % 4]
        fusion = fuse_volumes(*sources, fuser, axis=axis, progress=False)
        assert fusion.values.shape == tuple(shape)
        fusion.save(tmp_path / "f.nii.gz")
        fusion.montage(tmp_path / "m.png")


def test_three_volumes_are_fused_like_their_slices(fuser):
    own = ddfm.Fuser("gaussian", task="medical")
    mri, other, ct = head(), np.roll(head(), 1, 1), np.roll(head(), 2, 0) - 1000
    fusion = fuse_volumes(mri, other, own, more=[ct], axis=2)
    assert fusion.settings["sources"] == ["volume 3", "the second volume", "the first volume"]
    assert len(fusion.settings["alignment"]) == 2 and len(fusion.sources) == 3
    scaled_by = fusion.settings["scaled_by"]
    assert scaled_by == ["window soft-tissue", *["percentiles 0.5 and 99.5"] * 2]
    k = 3
    curve = fusion.settings["options"].get("curve")
    alone = own.with_config(look=False, options={} if curve is None else {"curve": curve})
    planes = [slices(volume.values, np.eye(4), 2)[k] for volume in reversed(fusion.sources)]
    expected = alone(*planes).image
    np.testing.assert_allclose(slices(fusion.values, np.eye(4), 2)[k] / 65535, expected, atol=2e-5)
    with pytest.raises(DdfmError, match="color a or b"):
        fuse_volumes(mri, other, own.with_config(color="a"), more=[ct])


def test_a_balance_is_between_the_volumes_in_the_callers_order():
    mri, other = head(), np.roll(head(), 3, 0)
    far = {}
    for balance in (-1, 1):
        own = ddfm.Fuser("gaussian", task="medical", balance=balance)
        fused = fuse_volumes(mri, other, own, axis=2)
        values = fused.values / 65535
        far[balance] = [np.abs(values - source.values).mean() for source in fused.sources]
    assert far[-1][0] < far[-1][1] and far[1][0] > far[1][1]


@pytest.fixture
def wrong_header(tmp_path) -> tuple[Volume, Volume, Volume, np.ndarray]:
    """A volume, a second one with the right header and with a wrong one, and its correction.

    The files a.nii, b.nii (the wrong one) and b.tfm hold the same.
    """
    affine, wrong = np.diag([2.0, 2.0, 2.0, 1.0]), np.diag([2.0, 2.0, 2.0, 1.0])
    wrong[:3, 3] = (6.0, -4.0, 2.0)  # whole voxels, so that nothing is interpolated
    a, b = np.random.default_rng(0).random((2, 20, 24, 8)).astype(np.float32)
    first, right, off = Volume(a, affine, "A"), Volume(b, affine, "B"), Volume(b, wrong, "B")
    motion = np.eye(4)
    motion[:3, 3] = wrong[:3, 3]
    write_volume(tmp_path / "a.nii", first)
    write_volume(tmp_path / "b.nii", off)
    write_space_transform(tmp_path / "b.tfm", motion)
    return first, right, off, motion


def test_a_given_transform_corrects_a_wrong_header(tmp_path, fuser, wrong_header):
    """The same voxels as with the right header."""
    first, right, off, motion = wrong_header
    expected = fuse_volumes(first, right, fuser).values
    known = fuse_volumes(first, off, fuser, transform=tmp_path / "b.tfm")
    assert np.array_equal(known.values, expected)
    assert known.settings["alignment"][0]["fixed_to_moving"] == motion.tolist()
    for change in ({"more": [right]}, {"transform": np.eye(3)}):
        with pytest.raises(DdfmError, match=r"two volumes|not a motion"):
            fuse_volumes(first, off, fuser, **{"transform": motion, **change})


@pytest.mark.usefixtures("wrong_header")
def test_a_transform_is_given_on_the_command_line_and_by_the_record(tmp_path):
    command = ["volume", tmp_path / "a.nii", tmp_path / "b.nii"]
    one = [*command, "-o", tmp_path / "f.nii", *FAST, "--task", "medical", "--seed", "5"]
    assert ddfm_run(*one, "--transform", tmp_path / "b.tfm").exit_code == 0
    again = [*command, "-o", tmp_path / "g.nii", "--like", tmp_path / "f.nii"]
    assert ddfm_run(*again).exit_code == 0
    made = [read_volume(tmp_path / name).values for name in ("f.nii", "g.nii")]
    assert np.array_equal(*made)
    both = ddfm_run(*one, "--transform", tmp_path / "b.tfm", "--align", "rigid", "--overwrite")
    refused(both, "use only one")
