"""Valid volumes for `fuzz_files.py` to damage, and what is done with them afterwards.

A volume is not only read. It goes all the way of a fusion but for the network: grey levels, the
slices of a plane, onto another grid and the other one onto its own, a montage, and a new file.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np

from ddfm.errors import DdfmError, DdfmWarning
from ddfm.registration.space_files import read_space_transform
from ddfm.volumes.files import read_volume, write_volume
from ddfm.volumes.intensity import scaled
from ddfm.volumes.montage import montage
from ddfm.volumes.resample import resampled
from ddfm.volumes.volume import Volume, find_axis, slices

__all__ = ["volume_files"]

BETWEEN = b"-- the next file of the series --"
GRID = Volume(np.ones((5, 6, 4), np.float32), np.diag([1.5, 1.0, 2.5, 1.0]), "the other volume")

Made = tuple[str, str, bytes, Callable[[Path], None], Callable[[bytes], bytes]]


def volume_files() -> Iterator[Made]:
    """Name, suffix, content, reader, and what is done to the content after it was damaged."""
    for name, data in _nifti():
        yield f"nifti {name}", ".nii", data, carry, bytes
        yield f"nifti {name} packed", ".nii.gz", data, carry, gzip.compress
        yield f"nifti {name} in gzip", ".nii.gz", gzip.compress(data), carry, bytes
    for name, data in _nrrd():
        yield f"nrrd {name}", ".nrrd", data, carry, bytes
    for name, data in _dicom():
        yield f"dicom {name}", ".dcm", data, carry, bytes
    for name, data in _metaimage():
        yield f"metaimage {name}", ".mha", data, carry, bytes
    for name, suffix, data in _motions():
        yield f"motion {name}", suffix, data, read_motion, bytes
    if series := _dicom_series():
        yield "dicom series", ".series", BETWEEN.join(series), carry_series, bytes


def carry(path: Path) -> None:
    """Read a volume, and take it through all steps of a fusion but the network."""
    with warnings.catch_warnings():
        # Of headers without a position, and of padding that looks like a CT's air.
        warnings.simplefilter("ignore", DdfmWarning)
        volume = read_volume(path)
        grey, _ = scaled(volume)
    assert volume.values.dtype == np.float32 and volume.values.size
    assert np.isfinite(volume.values).all()
    assert grey.min() >= 0 and grey.max() <= 1
    grey = Volume(grey, volume.affine, volume.name, volume.modality, volume.source)
    assert slices(grey.values, grey.affine, find_axis(grey)).size == grey.values.size
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for name in ("a.nii", "a.nrrd", "series"):
            _whatever(write_volume, Path(folder) / name, grey)
        _whatever(montage, [grey], Path(folder) / "a.png", count=3)
    for one, other in ((GRID, grey), (grey, GRID)):
        _whatever(resampled, one, other)


def _whatever(step: Callable[..., object], *arguments: object, **more: object) -> None:
    """A step that may refuse the volume in one line; the next step is tried anyway."""
    try:
        step(*arguments, **more)
    except DdfmError as error:
        if "\n" in str(error) or "not enough memory" in str(error):
            raise


def carry_series(path: Path) -> None:
    """Several files in one: they become a folder again."""
    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        for k, data in enumerate(path.read_bytes().split(BETWEEN)):
            (Path(name) / f"IM{k}").write_bytes(data)
        carry(Path(name))


def _content(dtype: type, channels: int = 1) -> np.ndarray:
    i, j, k, c = np.mgrid[:7, :8, :5, :channels]
    values = (31 * i + 17 * j * j + 57 * k * (c + 1)) % 251
    return (values[..., 0] if channels == 1 else values).astype(dtype)


def _nifti() -> Iterator[tuple[str, bytes]]:
    try:
        import nibabel
    except ImportError:
        return
    affine = np.array([[1, 0.2, 0, -3], [-0.2, 1, 0, 4], [0, 0, 3, 5], [0, 0, 0, 1]])
    color = _content(np.uint8, 3).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    made = {
        "int16": (nibabel.Nifti1Image, _content(np.int16)),
        "float": (nibabel.Nifti1Image, _content(np.float32)),
        "uint8": (nibabel.Nifti1Image, _content(np.uint8)),
        "one of a series": (nibabel.Nifti1Image, _content(np.int16)[..., None]),
        "rgb": (nibabel.Nifti1Image, color),
        "two": (nibabel.Nifti2Image, _content(np.float64)),
    }
    for name, (kind, values) in made.items():
        image = kind(values, affine)
        if name == "int16":
            image.header.set_slope_inter(2.0, -1000.0)
            image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"a comment"))
        yield name, image.to_bytes()


def _nrrd() -> Iterator[tuple[str, bytes]]:
    try:
        import nrrd
    except ImportError:
        return
    placed = {
        "space": "left-posterior-superior",
        "space directions": np.diag([1.0, 1.5, 3.0]),
        "space origin": np.array([1.0, 2.0, 3.0]),
    }
    color = {"kinds": ["RGB-color", "domain", "domain", "domain"], "spacings": [1, 1, 2, 3]}
    made = {
        "gzip": (_content(np.int16), placed | {"encoding": "gzip"}),
        "raw": (_content(np.float32), placed | {"encoding": "raw"}),
        "text": (_content(np.uint8), {"spacings": [1, 2, 3], "encoding": "ascii"}),
        "rgb": (np.moveaxis(_content(np.uint8, 3), -1, 0), color | {"encoding": "raw"}),
    }
    for name, (values, header) in made.items():
        file = BytesIO()
        nrrd.write(file, values, header)
        yield name, file.getvalue()


def _metaimage() -> Iterator[tuple[str, bytes]]:
    raw = _content(np.int16).tobytes(order="F")
    for name, packed, data in (("raw", "False", raw), ("packed", "True", zlib.compress(raw))):
        head = (
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
            f"CompressedData = {packed}\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\n"
            "ElementSpacing = 1 1.5 2\nDimSize = 7 8 5\nElementType = MET_SHORT\n"
            "ElementDataFile = LOCAL\n"
        )
        yield name, head.encode() + data


def _motions() -> Iterator[tuple[str, str, bytes]]:
    """Transforms of volumes: in ITK's text format, and as ANTs writes them."""
    head = "#Insight Transform File V1.0\n#Transform 0\nTransform: "
    for kind, numbers in (
        ("Affine", "1 0 0 0 1 0 0 0 1 3 4 5"),
        ("VersorRigid3D", ".1 .2 0 3 4 5"),
    ):
        text = f"{kind}Transform_double_3_3\nParameters: {numbers}\nFixedParameters: 0 0 0\n"
        yield kind, ".tfm", (head + text).encode()
    arrays = {"AffineTransform_double_3_3": np.r_[np.eye(3).ravel(), 3, 4, 5], "fixed": np.zeros(3)}
    data = b""
    for name, values in arrays.items():
        data += np.array([0, len(values), 1, 0, len(name) + 1], "<i4").tobytes()
        data += name.encode() + b"\0" + values.astype("<f8").tobytes()
    yield "ants", ".mat", data


def read_motion(path: Path) -> None:
    assert np.isfinite(read_space_transform(path)).all()


def _dicom() -> Iterator[tuple[str, bytes]]:
    try:
        import pydicom  # noqa: F401
    except ImportError:
        return
    from pydicom.uid import ImplicitVRLittleEndian, RLELossless

    from_tests = _dicom_files()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.dcm"

        def data_of(stored: np.ndarray, **more: object) -> bytes:
            from_tests.dicom_slice(path, stored, (1, 2, 3), **more)
            return path.read_bytes()

        plane = _content(np.int16)[:, :, 0]
        yield "ct", data_of(plane, Modality="CT", RescaleSlope="1", RescaleIntercept="-1024")
        yield "colour", data_of(_content(np.uint8, 3)[:, :, 0])
        yield (
            "bytes, inverted",
            data_of(plane.astype(np.uint8), PhotometricInterpretation="MONOCHROME1"),
        )
        dataset = from_tests.dicom_slice(path, plane.astype(np.uint16), (1, 2, 3))
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path, enforce_file_format=True)
        yield "run lengths", path.read_bytes()
        dataset = from_tests.dicom_slice(path, plane, (1, 2, 3))
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dataset.save_as(path, enforce_file_format=True)
        yield "implicit", path.read_bytes()
        yield "without preamble", path.read_bytes()[132:]
        yield "frames", data_of(np.concatenate([plane] * 3), **_frames(plane))


def _frames(plane: np.ndarray) -> dict[str, object]:
    """The header of a file of three frames."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    def group(**values: object) -> Dataset:
        dataset = Dataset()
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        return dataset

    def place(k: int) -> Dataset:
        return group(PlanePositionSequence=Sequence([group(ImagePositionPatient=[0, 0, 2 * k])]))

    shared = group(
        PlaneOrientationSequence=Sequence([group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]),
        PixelMeasuresSequence=Sequence([group(PixelSpacing=[1, 1], SliceThickness=2)]),
    )
    return {
        "NumberOfFrames": 3,
        "Rows": plane.shape[0],
        "PerFrameFunctionalGroupsSequence": Sequence([place(k) for k in range(3)]),
        "SharedFunctionalGroupsSequence": Sequence([shared]),
    }


def _dicom_series() -> list[bytes]:
    try:
        import pydicom  # noqa: F401
    except ImportError:
        return []
    with tempfile.TemporaryDirectory() as name:
        stored = np.moveaxis(_content(np.int16), 2, 0)
        _dicom_files().dicom_series(Path(name), stored, Modality="CT")
        return [path.read_bytes() for path in sorted(Path(name).iterdir())]


def _dicom_files():
    tests = str(Path(__file__).parents[1])
    if tests not in sys.path:
        sys.path.insert(0, tests)
    import dicom_files

    return dicom_files
