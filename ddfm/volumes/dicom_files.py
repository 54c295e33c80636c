"""Reads the headers and pixels of single DICOM files, within the limits of memory."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ddfm.errors import InputError, one_line
from ddfm.imaging.unreadable import explained, is_dicom
from ddfm.storage.budget import ask_bytes
from ddfm.storage.inputs import BoundedFile
from ddfm.volumes.reading import library

__all__ = ["frames_of", "number_of", "pixels_of", "read_head"]

_PIECE = 1 << 20  # bytes read at a time
_COPIES = 4  # memory needed, in multiples of what is stored: unpacked, as an array, rescaled


def read_head(file: Path) -> Any:
    """Everything in a file but its pixels; None if it is not DICOM."""
    pydicom = library("pydicom")
    with explained(str(file)):
        try:
            return _dataset(file, stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:
            return None


def number_of(head: Any) -> int | None:
    """The number of the series; None if it has none."""
    try:
        return int(head.get("SeriesNumber"))
    except (TypeError, ValueError):
        return None


def frames_of(head: Any) -> int:
    """The number of frames; 1 if the file does not give a number."""
    try:
        return int(head.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        return 1


def pixels_of(path: Path) -> np.ndarray:
    """The values of a file before slope and intercept, decompressed; for colour of any kind, RGB.

    An array in grey is masked where its values are padding.
    """
    with explained(str(path)):
        dataset = _dataset(path)
        if frames_of(dataset) == 1 and "NumberOfFrames" in dataset:
            del dataset.NumberOfFrames  # it may not be a number, which pydicom would reject
        if not any(dataset.get(f"{kind}PixelData") for kind in ("", "Float", "DoubleFloat")):
            raise InputError(f"{path} is damaged: it holds no pixels (PixelData)")
        _check_syntax(dataset, path)
        ask_bytes(_COPIES * _bytes_stored(dataset), str(path), path.stat().st_size)
        try:
            pixels = dataset.pixel_array
        except Exception as error:
            raise InputError(f"{path} is truncated or damaged: {one_line(error)}") from None
        kind = str(dataset.get("PhotometricInterpretation", ""))
        if kind == "PALETTE COLOR":
            from pydicom.pixels.processing import apply_color_lut

            return apply_color_lut(pixels, dataset)[..., :3]
        if kind.startswith("MONOCHROME"):
            return _looked_up(_without_padding(pixels, dataset), dataset)
        return pixels


def _without_padding(pixels: np.ndarray, dataset: Any) -> np.ndarray:
    """The values, masked where they only fill the image up around what the scanner saw."""
    value, limit = (dataset.get(f"PixelPadding{end}") for end in ("Value", "RangeLimit"))
    if not isinstance(value, int):
        return pixels
    ends = np.array([value, limit if isinstance(limit, int) else value])
    low, high = sorted(ends.astype(pixels.dtype))  # some files have -2000 as 63536
    return np.ma.masked_array(pixels, (low <= pixels) & (pixels <= high))


def _looked_up(pixels: np.ndarray, dataset: Any) -> np.ndarray:
    """The values in the file's table, if it has one in place of slope and intercept."""
    if not dataset.get("ModalityLUTSequence"):
        return pixels
    from pydicom.pixels.processing import apply_modality_lut

    values = apply_modality_lut(np.ma.getdata(pixels), dataset)
    return np.ma.masked_array(values, np.ma.getmask(pixels))


def _dataset(file: Path, **options: Any) -> Any:
    pydicom = library("pydicom")
    bare = is_dicom(file)  # or has a preamble, which is read in the same way
    with BoundedFile(file) as bounded:
        _refuse_bomb(pydicom, bounded, file, bare)
        bounded.seek(0)
        dataset = pydicom.dcmread(bounded, force=bare, **options)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = _syntax_seen(dataset, file)
    return dataset


def _syntax_seen(dataset: Any, path: Path) -> str:
    """The syntax of a data set that does not state it; only without compression it can be seen."""
    from pydicom import uid

    if "PixelData" in dataset and dataset["PixelData"].is_undefined_length:
        raise InputError(
            f"{path} does not state how it is compressed (TransferSyntaxUID); export it again as a "
            "file of DICOM with its header"
        )
    is_implicit, is_little_endian = dataset.original_encoding
    if is_implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if is_little_endian else uid.ExplicitVRBigEndian


def _refuse_bomb(pydicom: Any, file: BoundedFile, path: Path, bare: bool) -> None:
    """Raise if a deflated file unpacks to too much; pydicom unpacks all, even for the header."""
    reader = pydicom.filereader
    reader.read_preamble(file, bare)
    meta = reader.read_dataset(file, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") != pydicom.uid.DeflatedExplicitVRLittleEndian:
        return
    inflater, data, unpacked = zlib.decompressobj(-zlib.MAX_WBITS), b"", 0
    while not inflater.eof and (data := data or file.read(_PIECE)):
        unpacked += len(inflater.decompress(data, _PIECE))
        data = inflater.unconsumed_tail
        ask_bytes(_COPIES * unpacked, str(path), file.length)


def _bytes_stored(dataset: Any) -> int:
    rows, columns, frames = int(dataset.Rows), int(dataset.Columns), frames_of(dataset)
    depth = int(dataset.get("SamplesPerPixel") or 1) * (int(dataset.BitsAllocated) + 7) // 8
    return rows * columns * frames * depth


def _check_syntax(dataset: Any, path: Path) -> None:
    from pydicom.pixels.decoders.base import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or not syntax.is_encapsulated:
        return
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise InputError(
            f"{path} is compressed as {syntax.name}, which no installed package reads; pip install "
            "python-gdcm, or convert it first: gdcmconv --raw IN OUT"
        )
