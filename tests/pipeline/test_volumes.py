"""Volumes: the positions of voxels, resampling onto another grid, and fusion."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

import ddfm
from command_line import FAST, ddfm_run, refused
from ddfm.errors import DdfmError
from ddfm.imaging.colormaps import COLORMAPS, colored
from ddfm.pipeline.slices import kept_slices
from ddfm.pipeline.volumes import fuse_volumes
from ddfm.registration.space_files import write_space_transform
from ddfm.volumes import Volume, montage, read_volume, resampled, write_volume
from ddfm.volumes.intensity import find_window, scaled
from ddfm.volumes.volume import find_axis, slices

nibabel = pytest.importorskip("nibabel")


@pytest.fixture(scope="module")
def fuser() -> ddfm.Fuser:
    return ddfm.Fuser("gaussian", likelihood="paper", steps=2, device="cpu", task="medical")


def turned(spacing=(1.0, 1.0, 1.0), degrees=(0.0, 0.0, 0.0), origin=(0.0, 0.0, 0.0)) -> np.ndarray:
    """An affine of some spacing, turned about each axis."""
    affine = np.eye(4)
    rotation = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        c, s = np.cos(angle), np.sin(angle)
        one = np.eye(3)
        others = [k for k in range(3) if k != axis]
        one[np.ix_(others, others)] = [[c, -s], [s, c]]
        rotation = rotation @ one
    affine[:3, :3] = rotation * spacing
    affine[:3, 3] = origin
    return affine


def at(affine: np.ndarray, shape: tuple[int, ...], field) -> np.ndarray:
    """A linear field of the patient's space, at the voxels of a grid."""
    i = np.indices(shape).reshape(3, -1)
    x, y, z = affine[:3, :3] @ i + affine[:3, 3:]
    return field(x, y, z).reshape(shape).astype(np.float32)


def linear(x, y, z):
    return 0.3 * x - 0.5 * y + 0.2 * z + 7


ORIENTATIONS = [("RAS", (1, 2, 3)), ("LPS", (-1, -2, 3)), ("PIR", (-2, -3, 1)), ("ASL", (2, 3, -1))]


@pytest.mark.parametrize(("code", "axes"), ORIENTATIONS)
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_slices_look_as_on_a_light_box(code, axes, plane):
    """Up is the head (the front in axial slices), left is the patient's right (or front)."""
    affine = np.zeros((4, 4))
    for index, axis in enumerate(axes):
        affine[abs(axis) - 1, index] = np.sign(axis) * (1 + index)
    affine[3, 3] = 1
    assert "".join(nibabel.aff2axcodes(affine)) == code
    shape = (3, 4, 5)
    volume = Volume(np.zeros(shape, np.float32), affine)
    axis = find_axis(volume, plane)
    right, front, head = (
        slices(at(affine, shape, lambda *p, w=w: p[w]), affine, axis) for w in range(3)
    )
    along, rows, columns = {
        "axial": (head, -front, -right),
        "coronal": (front, -head, -right),
        "sagittal": (right, -head, -front),
    }[plane]
    assert (np.diff(along, axis=0) > 0).all()
    assert (np.diff(rows, axis=1) > 0).all()
    assert (np.diff(columns, axis=2) > 0).all()


def test_slices_are_a_view_that_can_be_written_to():
    values = np.zeros((3, 4, 5))
    slices(values, np.diag([-1, 1, 2, 1]), 2)[4, 0, 0] = 1
    assert values[2, 3, 4] == 0 and values.sum() == 1 and values[0, 3, 4] == 1


def test_the_default_axis_is_that_of_the_thick_slices():
    zeros = np.zeros((3, 4, 5), np.float32)
    assert find_axis(Volume(zeros, np.diag([1, 5, 1, 1]))) == 1
    assert find_axis(Volume(zeros, np.diag([1, 1, 1, 1]))) == 2
    assert find_axis(Volume(zeros, np.eye(4)[[1, 2, 0, 3]])) == 0  # index 0 goes to the head
    assert find_axis(Volume(zeros, np.eye(4)), "1") == 1
    with pytest.raises(DdfmError, match="unknown axis 'axal'; did you mean axial"):
        find_axis(Volume(zeros, np.eye(4)), "axal")


def test_a_linear_field_is_resampled_without_error():
    """Linear interpolation (and smoothing by a symmetric kernel) keeps it, whatever the grids."""
    a = turned((1.1, 0.9, 2.0), (10, -20, 30), (-3, 2, 1))
    b = turned((0.8, 1.3, 1.5), (-15, 5, 40))
    b[:3, 3] = (a @ [6, 5, 4, 1] - b @ [30, 30, 30, 1])[:3]  # centre on centre
    grid = Volume(np.zeros((12, 11, 9), np.float32), a)
    volume = Volume(at(b, (60, 60, 60), linear), b)
    result = resampled(volume, grid)
    np.testing.assert_allclose(result.values, at(a, grid.shape, linear), atol=2e-4)
    np.testing.assert_array_equal(result.affine, a)


def test_a_gaussian_blob_keeps_its_place():
    def blob(x, y, z):
        return np.exp(-((x - 8) ** 2 + (y - 9) ** 2 + (z - 10) ** 2) / (2 * 4**2))

    fine = turned((0.5, 0.5, 0.5), (0, 0, 45), (5, -10, 0))
    grid = Volume(np.zeros((20, 20, 12), np.float32), turned((1, 1, 2)))
    result = resampled(Volume(at(fine, (50, 50, 44), blob), fine), grid)
    inside = result.values > 0
    # Smoothing by (2 - 1) / 2 ... / 0.5 mm voxels widens it a little; its place does not change.
    np.testing.assert_allclose(
        result.values[inside], at(grid.affine, grid.shape, blob)[inside], atol=0.08
    )
    peak = np.unravel_index(result.values.argmax(), grid.shape)
    assert peak == (8, 9, 5)


def test_a_shift_by_whole_voxels_moves_voxels():
    values = np.random.default_rng(0).random((6, 7, 8)).astype(np.float32)
    shifted = turned(origin=(2, -1, 3))
    result = resampled(
        Volume(values, shifted), Volume(np.zeros((6, 7, 8), np.float32), np.eye(4)), -5
    )
    np.testing.assert_allclose(result.values[2:, :6, 3:], values[:4, 1:, :5], atol=1e-6)
    assert (result.values[:2] == -5).all() and (result.values[:, 6] == -5).all()
    assert (result.values[..., :3] == -5).all()


@pytest.mark.parametrize("spacing", [(1e-3, 1e-3, 1e-3), (1, 1, 1e7), (1e-8, 1, 1)])
def test_extreme_spacing_costs_neither_time_nor_memory(tmp_path, spacing):
    """Otherwise, smoothing or drawing would need as many voxels as fit into one spacing."""
    strange = Volume(np.arange(60, dtype=np.float32).reshape(3, 4, 5), turned(spacing))
    grid = Volume(np.ones((6, 7, 8), np.float32), np.eye(4))
    assert 0 <= resampled(strange, grid).values.min() <= resampled(strange, grid).values.max() < 60
    assert (resampled(grid, strange).values == 1).all()
    montage([strange], tmp_path / "a.png", count=2)
    with Image.open(tmp_path / "a.png") as image:
        assert max(image.size) < 1000


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.diag([1e30, 1, 1, 1]), "is invalid"),
        (np.diag([0, 1, 1, 1]), "is invalid: voxels are 0, 1, 1 mm apart"),
        (turned(origin=(0, 1e40, 0)), "the first lies at 0, 1e.40, 0"),
        (np.diag([1, np.inf, 1, 1]), "not a 4 x 4 matrix of numbers"),
        (np.eye(4) + 1e7 * np.eye(4)[0][:, None] * np.eye(4)[1], "onto a plane"),
    ],
)
def test_invalid_affines_are_refused(affine, message):
    with pytest.raises(DdfmError, match=message):
        Volume(np.zeros((2, 3, 4), np.float32), affine, "a volume")


def test_fine_stripes_are_not_aliased():
    """Stripes of 2 voxels on a grid of 3: aliased they would become stripes of 6."""
    values = np.zeros((60, 4, 4), np.float32)
    values[::2] = 1
    grid = Volume(np.zeros((20, 4, 4), np.float32), turned((3, 1, 1), origin=(0.5, 0, 0)))
    result = resampled(Volume(values, np.eye(4)), grid).values[2:-2]
    assert np.ptp(result) < 0.1 and abs(result.mean() - 0.5) < 0.02


def test_equal_grids_need_no_resampling():
    volume = Volume(np.zeros((3, 3, 3), np.float32), np.eye(4))
    assert resampled(volume, Volume(np.ones((3, 3, 3), np.float32), np.eye(4) + 1e-9)) is volume


def test_volumes_that_do_not_overlap_are_refused():
    zeros = np.zeros((3, 3, 3), np.float32)
    far = Volume(zeros, turned(origin=(100, 0, 0)), "ct")
    with pytest.raises(DdfmError, match="ct and mri do not overlap"):
        resampled(far, Volume(zeros, np.eye(4), "mri"))


def test_windows_scale_levels():
    ct = Volume(np.float32([-1000, -60, 40, 140, 3000]).reshape(5, 1, 1), np.eye(4), modality="CT")
    values, limits = scaled(ct)
    assert limits == (-160, 240)
    np.testing.assert_allclose(values.ravel(), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(scaled(ct, "brain")[0].ravel(), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(scaled(ct, "1000/4000")[0].ravel()[[0, 4]], [0, 1])
    assert find_window((3, 4)) == find_window("3/4") == find_window("3,4") == (3, 4)
    for wrong in ("4/0", "x/y", (1,), (1, -1), (np.nan, 1)):
        with pytest.raises(DdfmError, match="a window is LEVEL/WIDTH"):
            find_window(wrong)
    with pytest.raises(DdfmError, match="unknown window 'bran'; did you mean brain"):
        find_window("bran")


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


def test_ct_without_a_modality_is_known_by_its_air():
    values = np.linspace(-1000, 1000, 8, dtype=np.float32).reshape(2, 2, 2)
    assert scaled(Volume(values, np.eye(4)))[1] == (-160, 240)
    assert scaled(Volume(values + 1000, np.eye(4)))[1] != (-160, 240)
    assert scaled(Volume(values, np.eye(4), modality="MR"))[1] != (-160, 240)


def test_percentiles_are_of_the_foreground():
    values = np.zeros(1000, np.float32)
    values[:100] = np.arange(1, 101)
    volume = Volume(values.reshape(10, 10, 10), np.eye(4))
    _, (low, high) = scaled(volume, percentiles=(10, 90))
    assert (low, high) == tuple(np.percentile(np.arange(1, 101), [10, 90]))
    flat, _ = scaled(Volume(np.full((2, 2, 2), 7, np.float32), np.eye(4)))
    assert (flat == 0).all()
    mask = (np.arange(8) > 4).reshape(2, 2, 2)
    for background, value in ((0, 1), (-3, 500)):
        values, _ = scaled(Volume(np.where(mask, value, background).astype(np.float32), np.eye(4)))
        np.testing.assert_array_equal(values, mask)
    with pytest.raises(DdfmError, match="percentiles must be two numbers from 0 to 100"):
        scaled(volume, percentiles=(90, 10))


@pytest.mark.parametrize("name", COLORMAPS)
def test_luminance_of_a_colour_map_rises_with_the_activity(name):
    colors = colored(np.linspace(0, 1, 257, dtype=np.float32), name)
    luminance = colors @ [0.299, 0.587, 0.114]
    assert (np.diff(luminance) > 0).all() and luminance[0] < 0.01 and luminance[-1] > 0.95
    assert colors.min() >= 0 and colors.max() <= 1


def head(shape=(20, 18, 6)) -> np.ndarray:
    """A ball with some structure in it."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    ball = (grid**2).sum(0) < 0.8
    return (ball * (500 + 300 * np.sin(6 * grid[0]) * np.cos(5 * grid[1]))).astype(np.float32)


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


def test_arrays_that_are_no_volumes_are_refused():
    for wrong, words in [
        (np.zeros((4, 4)), "has 3 dimensions"),
        (np.zeros((4, 4, 4, 7)), r"not the shape \(4, 4, 4, 7\); extract one"),
        (np.zeros((0, 4, 4)), "empty"),
        (np.full((2, 2, 2), np.nan), "NaN or infinite"),
        (np.zeros((2, 2, 2), complex), "a volume cannot have values of type complex128"),
        ((np.zeros((2, 2, 2)), np.zeros((4, 4))), "is invalid"),
        ((np.zeros((2, 2, 2)), np.eye(3)), "4 x 4"),
        (7, "cannot read a volume from int"),
    ]:
        with pytest.raises(DdfmError, match=words):
            read_volume(wrong)
    with pytest.raises(DdfmError, match="must be 1 or more"):
        fuse_volumes(head(), head(), together=0)


def test_outputs_are_checked_beforehand(tmp_path):
    volume = Volume(np.zeros((2, 2, 2), np.uint16), np.eye(4))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for path, words in [
        (tmp_path / "x.nii.bz2", "unknown output suffix '.bz2'"),
        (tmp_path / "none" / "x.nii", "there is no folder"),
        (tmp_path / "full", "it exists already"),
    ]:
        with pytest.raises(DdfmError, match=words):
            write_volume(path, volume)


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


def test_a_montage_has_numbers_sides_and_scales(tmp_path):
    """Compared with the same slices without them."""
    affine = turned((-1, 1, 4))
    values = np.zeros((100, 90, 5), np.float32)
    volume = Volume(values, affine)
    montage([volume, volume], tmp_path / "plain.png", axis="axial", count=1)
    scales = [(0.0, 1800.0, None), (-160.0, 240.0, "hot")]
    montage([volume, volume], tmp_path / "scaled.png", axis="axial", count=1, scales=scales)
    with Image.open(tmp_path / "plain.png") as image:
        plain = np.asarray(image)
    with Image.open(tmp_path / "scaled.png") as image:
        wide = np.asarray(image)
    width = plain.shape[1]
    assert wide.shape[0] == plain.shape[0] and wide.shape[1] > width + 20
    assert (wide[:, :width] == plain).all()
    lit = plain.max(axis=-1) > 128  # black slices: what is lit are letters
    rows, columns = np.nonzero(lit[:90])
    assert rows.min() < 15 and columns.min() < 15 and columns.max() > width - 20
    assert not lit[30:40, :].any()
    bar = wide[90 // 2, width : width + 20]
    assert (bar[..., 0] == bar[..., 2]).all()  # grey, and the one below is in colours
    below = wide[92 + 20 : 92 + 70, width : width + 20]
    assert (below[..., 0].astype(int) - below[..., 2] > 100).any()


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
