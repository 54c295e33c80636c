"""Turns any exception of a decoder into an error of one line that names the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import UnidentifiedImageError

from ddfm.errors import DdfmError, HostError, InputError, StorageError, one_line
from ddfm.imaging.formats.plugins import is_from_phone, remedy_for
from ddfm.imaging.quiet import quiet

__all__ = [
    "FLIR_FILMS",
    "RAW",
    "VOLUMES",
    "advice_for",
    "explained",
    "is_dicom",
    "not_read",
    "suffix_is_raw",
]

VOLUMES = (".nii", ".nii.gz", ".dcm", ".nrrd", ".nhdr")
_VOLUMES_ONLY_READ = (".mha", ".mhd", ".mgh", ".mgz")

RAW = "is a camera's raw file; develop it to TIFF first"
FLIR_FILMS = (".seq", ".csq")
_RAW = (".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef")
# What a DICOM file that was saved as a bare data set begins with: an element of the first group or
# the next, and soon after it the class of the object, with or without the type of its value.
_BARE = re.compile(
    rb"(?=[\x02\x08]\0.\0|\0\x08\0.).{0,800}?"
    rb"(?:\x02\0\x02\0|\x08\0\x16\0|\0\x08\0\x16)(?:UI..|..\0\0)1\.2\.840\.10008\.",
    re.DOTALL,
)
# Kinds of file that are not read here, and how to convert them.
_NOT_READ = {
    FLIR_FILMS: "is a FLIR film; export its frames as TIFF or CSV with FLIR's own program",
    (".irg", ".fff"): "is damaged, or not what a thermal camera writes; if it is sound, ddfm.fuse "
    "and ddfm.read_flir read the temperatures in it, and read_image reads pictures alone",
    _RAW: RAW,
    (".fits", ".fit", ".fts"): "is a FITS file; convert it to TIFF in floating point first: "
    "gdal_translate IN.fits OUT.tif",
    (".mnc",): "is a MINC volume; convert it to NIfTI first: mnc2nii IN.mnc OUT.nii",
    (".par", ".rec"): "is a volume of Philips; convert it to NIfTI first: dcm2niix FOLDER",
    (".head", ".brik", ".brik.gz"): "is an AFNI volume; convert it to NIfTI first: "
    "3dAFNItoNIFTI -prefix OUT.nii IN",
}
# Kinds that are not looked for in folders, where they lie beside the pictures. If one is named as a
# source, this says how to make a picture of it.
_NO_PICTURES = {
    (".exr",): "is an OpenEXR file; convert it to TIFF first: oiiotool IN.exr -o OUT.tif",
    (".psd", ".psb", ".xcf", ".kra"): "is the document of a drawing program; export it as PNG or "
    "TIFF first",
    (".pdf", ".svg", ".ai", ".eps"): "is a document, not an image of pixels; export it as PNG "
    "first",
    (".tga", ".dpx", ".ico"): "is an image of a kind that is not read; convert it to PNG or TIFF "
    "first",
    (".npz",): "is an archive of arrays; save the one to fuse as NPY first: numpy.save('OUT.npy', "
    "numpy.load('IN.npz')['NAME'])",
    (".mat",): "is a MATLAB file; write its image as CSV first: writematrix(IMAGE, 'OUT.csv')",
    (".h5", ".hdf5", ".hdf", ".nc"): "is an HDF or NetCDF file, whose arrays gdalinfo lists; "
    "convert one of them to TIFF first: gdal_translate ARRAY OUT.tif",
    (".czi", ".lif", ".nd2", ".oib", ".oif"): "is a microscope's file; export it as TIFF first",
    (".zip", ".7z", ".rar", ".tar", ".tar.gz", ".tgz"): "is an archive; unpack it first",
}


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn any error of a decoder into one line about the file."""
    try:
        with quiet():
            yield
    except DdfmError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{name} {_not_an_image(name)}") from None
    except MemoryError:
        raise HostError(f"cannot read {name}: there is not enough memory for it") from None
    except OSError as error:
        if error.errno is not None:
            raise StorageError(f"cannot read {name}: {error.strerror or error}") from None
        raise InputError(f"{name} is truncated or damaged: {one_line(error)}") from None
    except Exception as error:
        # Some decoders add advice to programmers, in further sentences.
        what = one_line(error).partition(". ")[0]
        what += " is missing" if isinstance(error, KeyError) else ""
        raise InputError(f"{name} is truncated or damaged: {what}") from None


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content; many DICOM files have no suffix.

    Old archives, and programs that save what a network sends, leave out the preamble with its mark.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(1024)
        return head[128:132] == b"DICM" or _BARE.match(head) is not None
    except OSError:
        return False


def advice_for(name: str) -> str:
    """What to do with a picture of a kind that is not read here; empty for other files."""
    if name.lower().endswith((*VOLUMES, *_VOLUMES_ONLY_READ)):
        return "is not a picture; use the command `ddfm volume` for volumes and DICOM series"
    return not_read(name) or remedy_for(b"", Path(name).suffix)


def not_read(name: str) -> str:
    """What a file is by its suffix, and how to convert it, if it is of a kind that is not read."""
    return _by_suffix(_NOT_READ, name)


def _by_suffix(ways: dict[tuple[str, ...], str], name: str) -> str:
    return next((way for ends, way in ways.items() if name.lower().endswith(ends)), "")


def suffix_is_raw(suffix: str) -> bool:
    """Whether this is the suffix of a camera's raw files, of which many are a kind of TIFF."""
    return suffix.lower() in _RAW


def _not_an_image(name: str) -> str:
    head = b""
    if Path(name).is_file():
        with open(name, "rb") as file:
            head = file.read(64)
        if not head:
            return "is empty"
        if head.startswith(b"PF\n"):
            return "is a PFM in colour, but only grey ones are read; convert it to TIFF first"
        name += ".dcm" if is_dicom(Path(name)) else ""
    known = (
        "PNG, JPEG, TIFF, WebP, BMP, JPEG 2000, GIF, PGM, PPM, PFM, NPY, CSV, TSV, AVIF, HEIC, "
        "JPEG XL"
    )
    way = remedy_for(head, "") or advice_for(name) or _by_suffix(_NO_PICTURES, name)
    if not way and is_from_phone(head):
        return "is truncated or damaged"
    return way or f"is not an image, or damaged (known: {known})"
