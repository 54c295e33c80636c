"""The memory that small files take, and which files are opened and parsed at all."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from command_line import ddfm_run, refused
from ddfm.errors import DdfmError
from ddfm.imaging.reading import read_image
from ddfm.storage import budget
from ddfm.storage.inputs import existing_file, json_object, read_text, toml_table

MEGABYTE = 10**6
LIMIT = 100 * MEGABYTE
# Reads files with one of our readers each; what became of them, and the most memory it took.
READ = """
import json, resource, sys
from pathlib import Path
from ddfm.errors import DdfmError
from ddfm.imaging.reading import read_image
from ddfm.priors.checkpoints import read_state_dict
from ddfm.video.files import VideoReader
from ddfm.volumes.files import read_volume

READERS = {"volume": read_volume, "weights": read_state_dict, "video": VideoReader}
READERS["image"] = lambda path: [read_image(path)]
told = {}
for reader, path in json.loads(sys.argv[1]):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        list(READERS[reader](Path(path)))
        what = "read"
    except DdfmError as error:
        what = str(error)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    told[Path(path).name] = what, more * 1024
print(json.dumps(told))
"""


def png(width: int, height: int) -> bytes:
    """Black RGBA, compressed by a factor of a thousand."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    packer, packed = zlib.compressobj(9), b""
    for _ in range(height):
        packed += packer.compress(bytes(4 * width + 1))
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", packed + packer.flush()), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def sparse_tiff() -> bytes:
    """A page whose header claims 169 megapixels."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((2, 2), np.uint8))
    data = file.getvalue()
    for tag in (256, 257):
        small, large = (struct.pack("<HHII", tag, 4, 1, side) for side in (2, 13_000))
        assert small in data
        data = data.replace(small, large)
    return data


def many_pages(count: int) -> bytes:
    """Pages without a field, each six bytes that point to the next."""
    pages = (struct.pack("<HI", 0, 8 + 6 * (k + 1)) for k in range(count))
    return b"II*\0" + struct.pack("<I", 8) + b"".join(pages) + struct.pack("<HI", 0, 0)


def nifti(megabytes: int) -> bytes:
    nibabel = pytest.importorskip("nibabel")
    header = nibabel.Nifti1Header()
    header.set_data_shape((1000, 1000, megabytes))
    header.set_data_dtype(np.uint8)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    file = io.BytesIO()
    with gzip.open(file, "wb", 1) as packed:
        packed.write(header.binaryblock + bytes(4))
        for _ in range(megabytes):
            packed.write(bytes(MEGABYTE))
    return file.getvalue()


def nrrd(megabytes: int) -> bytes:
    pytest.importorskip("nrrd")
    head = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 1000 1000 {megabytes}\nencoding: gzip\n\n"
    packed = io.BytesIO()
    with gzip.open(packed, "wb", 1) as file:
        for _ in range(megabytes):
            file.write(bytes(MEGABYTE))
    return head.encode() + packed.getvalue()


def deflated_dicom(megabytes: int) -> bytes:
    pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    plain = file.getvalue()
    meta = plain[: 132 + 12 + struct.unpack("<I", plain[140:144])[0]]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, megabytes * MEGABYTE))
    for _ in range(megabytes):
        packed += packer.compress(bytes(MEGABYTE))
    return meta + packed + packer.flush()


class Large:
    """Unpickles as a bytearray of five gigabytes."""

    def __reduce__(self) -> tuple[object, ...]:
        return bytearray, (5 * 10**9,)


def weights() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"a": Large()}, protocol=2))
        archive.writestr("a/version", "3\n")
        archive.writestr("a/byteorder", "little")
    return file.getvalue()


def legacy_weights() -> bytes:
    return pickle.dumps({"a": Large()}, protocol=2)


def large_frame() -> bytes:
    """A film whose header claims 64 x 48 pixels, with a frame of 9 megapixels."""
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", "avi") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 3_000, 3_000, "rgb24"
        frame = av.VideoFrame.from_ndarray(np.zeros((3_000, 3_000, 3), np.uint8), "rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue().replace(struct.pack("<ii", 3_000, 3_000), struct.pack("<ii", 64, 48))


BOMBS = {
    "rgba.png": ("image", lambda: png(4_000, 4_000), "would take 384 MB of memory"),
    "sparse.tif": ("image", sparse_tiff, "would take 1,183 MB"),
    "pages.tif": ("image", lambda: many_pages(120_000), "more than 100,000 pages"),
    "a.nii.gz": ("volume", lambda: nifti(50), "would take 250 MB"),
    "a.nrrd": ("volume", lambda: nrrd(50), "would take 300 MB"),
    "a.dcm": ("volume", lambda: deflated_dicom(50), "would take"),
    "zip.pt": ("weights", weights, "refers to __builtin__.bytearray"),
    "legacy.pt": ("weights", legacy_weights, "refers to __builtin__.bytearray"),
    "a.avi": ("video", large_frame, "more than 3.125 megapixels"),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The outcome of each file, and the bytes of memory that it took."""
    folder = tmp_path_factory.mktemp("bombs")
    files = []
    for name, (reader, make, _) in BOMBS.items():
        (folder / name).write_bytes(make())
        assert (folder / name).stat().st_size < MEGABYTE
        files.append((reader, str(folder / name)))
    run = subprocess.run(
        [sys.executable, "-c", READ, json.dumps(files)],
        stdout=subprocess.PIPE,
        timeout=120,
        check=True,
        env=os.environ | {"DDFM_MAX_BYTES": str(LIMIT)},
    )
    return json.loads(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in kilobytes there")
@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_takes_little_memory(told, name):
    what, memory = told[name]
    assert BOMBS[name][2] in what
    assert memory < LIMIT


# --- the limits ---------------------------------------------------------------------------------


def test_small_files_may_take_less_memory_than_large_ones(monkeypatch):
    monkeypatch.delenv("DDFM_MAX_BYTES", raising=False)
    monkeypatch.setattr(budget, "_memory", lambda: 64 * 2**30)
    assert budget.max_bytes(1000) == 2**30
    assert budget.max_bytes(50 * MEGABYTE) == 200 * 50 * MEGABYTE
    assert budget.max_bytes(10**10) == budget.max_bytes() == 16 * 2**30
    monkeypatch.setenv("DDFM_MAX_BYTES", "3e9")
    assert budget.max_bytes(1000) == 3e9
    budget.ask_bytes(3e9, "a file", 1000)
    with pytest.raises(DdfmError, match="a file would take 3,100 MB .* DDFM_MAX_BYTES=3100000000"):
        budget.ask_bytes(3.1e9, "a file", 1000)


def test_a_picture_over_both_limits_is_refused_with_both_options(monkeypatch, tmp_path):
    monkeypatch.setenv("DDFM_MAX_MEGAPIXELS", "1")
    monkeypatch.setenv("DDFM_MAX_BYTES", "1e6")
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((1100, 1000), np.uint8)).save(path)
    with pytest.raises(DdfmError, match="1000 x 1100 pixels, .*DDFM_MAX_MEGAPIXELS") as refused:
        read_image(path)
    monkeypatch.setenv("DDFM_MAX_MEGAPIXELS", "2")
    variable, value = str(refused.value).rpartition(" ")[2].split("=")
    monkeypatch.setenv(variable, value)
    assert read_image(path).size == (1100, 1000)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "2 GB"])
def test_invalid_limits_are_refused_in_one_line(monkeypatch, text):
    monkeypatch.setenv("DDFM_MAX_BYTES", text)
    with pytest.raises(DdfmError, match="DDFM_MAX_BYTES must be a number above 0"):
        budget.ask_bytes(1, "a file")


def test_the_option_raises_and_lowers_the_limit_of_pixels(tmp_path):
    Image.new("L", (300, 200)).save(tmp_path / "a.png")
    files = [tmp_path / "a.png"] * 3
    assert ddfm_run("metrics", *files, "--metrics", "EN", "--max-megapixels", 0.06).exit_code == 0
    low = ddfm_run("metrics", *files, "--metrics", "EN", "--max-megapixels", 0.05)
    refused(low, "300 x 200 pixels", "limit of 0.05 megapixels", "--max-megapixels")
    said = "--max-megapixels (DDFM_MAX_MEGAPIXELS) must be a number above 0, such as 180"
    refused(ddfm_run("metrics", *files, "--max-megapixels", "nan"), said)
    assert budget.max_pixels() == 180e6  # as before


def test_pictures_beyond_the_limit_of_pillow_can_be_read(tmp_path, monkeypatch):
    Image.new("L", (300, 200)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_image(tmp_path / "a.png").size == (200, 300)
    assert Image.MAX_IMAGE_PIXELS == 1000


# --- what is opened, and what is parsed -----------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
@pytest.mark.parametrize(
    "command",
    [
        ["fuse", "PIPE", "PIPE", "-o", "out.png"],
        ["volume", "PIPE", "PIPE", "-o", "out.nii"],
        ["fuse", "a.png", "b.png", "-o", "out.png", "--method", "dmfuse", "--head", "PIPE"],
        ["fuse", "a.png", "b.png", "-o", "out.png", "--prior", "PIPE"],
        ["bench", "set", "--out", "out", "--config", "PIPE"],
        ["film", "PIPE", "PIPE", "-o", "out.mkv"],
        ["info", "PIPE"],
    ],
)
@pytest.mark.parametrize("suffix", ["", ".nii.gz", ".nrrd", ".dcm", ".safetensors"])
def test_pipes_are_refused_before_they_are_opened(tmp_path, monkeypatch, command, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / "set").mkdir()
    ramp = Image.linear_gradient("L").resize((8, 8))
    ramp.save(tmp_path / "a.png")
    ramp.rotate(90).save(tmp_path / "b.png")
    monkeypatch.chdir(tmp_path)
    result = ddfm_run(*[f"pipe{suffix}" if word == "PIPE" else word for word in command])
    refused(result, f"cannot read pipe{suffix}: it is not a regular file")


def test_large_and_nested_text_files_are_refused(tmp_path):
    deep = tmp_path / "deep"
    deep.write_text("[" * 200_000)
    with pytest.raises(DdfmError, match="deep is nested too deeply"):
        json_object(read_text(deep), str(deep))
    deep.write_text("a = " + "[" * 200_000)
    with pytest.raises(DdfmError, match="deep is nested too deeply"):
        toml_table(deep)
    for text, words in [
        ("[1]", "must be a JSON object"),
        ("{", "is not JSON"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": -Infinity}', "-Infinity is not a number"),
    ]:
        with pytest.raises(DdfmError, match=words):
            json_object(text, "it")
    deep.write_bytes(b"\xff\xfe")
    with pytest.raises(DdfmError, match="cannot read"):
        read_text(deep)
    with deep.open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(DdfmError, match="too large"):
        read_text(deep)


@pytest.mark.parametrize("bad", ["nowhere", "", "nul\0"])
def test_errors_name_what_is_there_instead_of_a_file(tmp_path, bad):
    with pytest.raises(DdfmError, match="it is a folder|there is no such file|embedded null"):
        existing_file(tmp_path / bad)
