"""Damaged files by the thousand: each must end in a result or in one DdfmError, soon and small.

    python tests/fuzz/fuzz_files.py [--seconds 60] [--seed 0] [--only tiff] [--keep DIR]
    python tests/fuzz/fuzz_files.py --each 10000             (so many cases of every kind)
    python tests/fuzz/fuzz_files.py --seed 0 --case 1234     (one case again, with its traceback)

Every case is an original (small files of all formats and layouts: pictures made here, volumes,
films, metadata, weights and texts from the other files of this folder) with one to six mutations,
drawn from the seed and the number of the case. Where a text says something, it also says something
else. It is read in a worker process with limited memory (Linux only). What counts as a failure: any
other exception, a crash, more than `LIMIT_SECONDS` of its processor or thirty times that by the
clock, running out of `LIMIT_MEMORY`, samples outside [0, 1], a word on standard error, a file that
was changed or left behind.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
import tifffile
from PIL import Image

from ddfm.errors import DdfmError, DdfmWarning
from ddfm.imaging.formats.tags import LONG, Entry, block
from ddfm.imaging.picture import to_array
from ddfm.imaging.reading import pages_in, read_image
from ddfm.imaging.writing import write_image
from fuzz_films import film_files
from fuzz_metadata import metadata_files
from fuzz_texts import text_files
from fuzz_volumes import volume_files
from fuzz_weights import weight_files

LIMIT_SECONDS = 20
LIMIT_MEMORY = 2 * 2**30  # bytes beyond what the worker starts with
KINDS = ("image", "flir", "nifti", "nrrd", "metaimage", "dicom", "video")
KINDS += ("prior", "head", "diffusers", "manifest", "toml", "metadata", "motion")

INTERESTING = [0, 1, 2, 3, 7, 8, 15, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536]
INTERESTING += [2**24, 2**31 - 1, 2**31, 2**32 - 1, 60000, 100000]


@dataclass(frozen=True)
class Original:
    """A valid file, its suffix, its reader, a step after the damage, a damage of its own.

    The first word of the name is its kind, if it is among `KINDS`; else it is an image.
    """

    name: str
    suffix: str
    data: bytes
    read: Callable[[Path], None]
    packed: Callable[[bytes], bytes] = bytes
    odd: Callable[[np.random.Generator, bytes], bytes] | None = None  # damages what it says

    @property
    def kind(self) -> str:
        word = self.name.split()[0]
        return word if word in KINDS else "image"

    def write(self, folder: Path, damaged: bytes | None = None) -> Path:
        """The file, or a damaged one of its kind."""
        path = folder / f"a{self.suffix}"
        path.write_bytes(self.packed(self.data if damaged is None else damaged))
        return path


def read_picture(path: Path) -> None:
    """Read a file as an image, and check the properties of the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DdfmWarning)  # of files that hold several
        hold(read_image(path))


def read_all_pages(path: Path) -> None:
    for page in range(min(pages_in(path), 4)):
        hold(read_image(path, page=page))


def read_thermal(path: Path) -> None:
    from ddfm.imaging.thermal.flir import read_flir

    for picture in read_flir(path):
        hold(picture)


def hold(picture) -> None:
    for samples in (picture.pixels, picture.alpha):
        if samples is not None:
            assert samples.dtype == np.float32 and samples.size
            assert samples.min() >= 0 and samples.max() <= 1  # not so either if it is NaN
    assert picture.pixels.shape[2] in (1, 3)
    to_array(picture.pixels, picture, picture.alpha)


def originals() -> list[Original]:
    """Small files of every format and of many layouts."""
    files = [*_by_pillow(), *_by_us(), *_by_tifffile(), *_tables()]
    found = [Original(name, suffix, data, read_picture) for name, suffix, data in files]
    found += [
        Original(f"{one.name} pages", one.suffix, one.data, read_all_pages)
        for one in found
        if one.suffix == ".tif"
    ]
    found += [Original(*made) for made in (*volume_files(), *film_files(), *metadata_files())]
    found += [Original(*made, odd=odd) for *made, odd in (*weight_files(), *text_files())]
    return found + _thermal()


def _content(channels: int, dtype: type) -> np.ndarray:
    y, x, c = np.mgrid[:19, :23, :channels]
    value = (2999 * y + 1723 * x * x + 7919 * c * (y + 1)) % 65536 / 65535
    value = value[:, :, 0] if channels == 1 else value
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    return (value * top).astype(dtype)


def _by_pillow() -> Iterator[tuple[str, str, bytes]]:
    image = Image.fromarray(_content(3, np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    tiff = {f"tiff {c}": (m, "tif", {"compression": c}) for m, c in _TIFF_COMPRESSIONS}
    made = {
        "grey": ("L", "png", {}),
        "rgb": ("RGB", "png", {"exif": exif}),
        "palette": ("P", "png", {"transparency": 3}),
        "bits": ("1", "png", {}),
        "rgb keyed": ("RGB", "png", {"transparency": (1, 2, 3)}),
        "animated": ("RGB", "png", {"save_all": True, "append_images": [image.rotate(90)]}),
        "jpeg": ("RGB", "jpg", {"exif": exif}),
        "jpeg grey": ("L", "jpg", {}),
        "jpeg cmyk": ("CMYK", "jpg", {}),
        "jpeg progressive": ("RGB", "jpg", {"progressive": True}),
        "webp": ("RGB", "webp", {"exif": exif}),
        "webp lossless": ("RGBA", "webp", {"lossless": True}),
        "bmp": ("RGB", "bmp", {}),
        "bmp palette": ("P", "bmp", {}),
        "gif": ("P", "gif", {}),
        "jpeg 2000": ("RGB", "jp2", {}),
        "tiff inks": ("CMYK", "tif", {}),
        "tiff ycbcr": ("YCbCr", "tif", {}),
        "tiff float": ("F", "tif", {}),
        "tiff turned": ("RGB", "tif", {"exif": exif}),
    } | tiff
    if int(PIL.__version__.split(".")[0]) < 13:
        del made["tiff ycbcr"]  # it writes them, but reads none
    for name, (mode, suffix, options) in made.items():
        file = BytesIO()
        form = {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(suffix, suffix.upper())
        image.convert(mode).save(file, form, **options)
        yield name, f".{suffix}", file.getvalue()


_TIFF_COMPRESSIONS = [
    ("RGB", "tiff_lzw"),
    ("RGB", "packbits"),
    ("RGBA", "tiff_adobe_deflate"),
    ("RGB", "jpeg"),
    ("1", "group4"),
    ("1", "group3"),
    ("P", "tiff_deflate"),
]


def _by_us() -> Iterator[tuple[str, str, bytes]]:
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".png", ".jp2", ".j2k"):
            for channels in (1, 2, 3, 4):
                picture = read_image(_content(channels, np.uint16))
                path = Path(folder) / f"a{suffix}"
                write_image(path, picture.pixels, picture, picture.alpha)
                yield f"16 bits x {channels}", suffix, path.read_bytes()


def _by_tifffile() -> Iterator[tuple[str, str, bytes]]:
    pages = np.stack([_content(1, np.uint16)] * 3)
    planes = np.moveaxis(_content(3, np.uint16), 2, 0)
    made = {
        "strips": (_content(3, np.uint16), {"photometric": "rgb", "rowsperstrip": 5}),
        "deflated": (_content(3, np.uint16), {"photometric": "rgb", "compression": "zlib"}),
        "tiled float": (_content(1, np.float32), {"tile": (16, 16), "compression": "zlib"}),
        "predicted": (_content(3, np.uint8), {"compression": "zlib", "predictor": True}),
        "planes": (planes, {"photometric": "rgb", "planarconfig": "separate"}),
        "pages": (pages, {"photometric": "minisblack"}),
        "big": (_content(4, np.uint8), {"bigtiff": True, "extrasamples": ["assocalpha"]}),
        "big endian": (_content(1, np.uint16), {"byteorder": ">"}),
        "white is zero": (_content(1, np.uint8), {"photometric": "miniswhite"}),
        "counts": (_content(1, np.uint16).astype(np.int32), {}),
    }
    for name, (array, options) in made.items():
        file = BytesIO()
        tifffile.imwrite(file, array, **options)
        yield f"tiff {name}", ".tif", file.getvalue()
    yield "tiff 12 bits", ".tif", _tiff_of_12_bits()


def _tiff_of_12_bits() -> bytes:
    bits = np.unpackbits(_content(1, np.uint16).astype(">u2").view(np.uint8), axis=1)
    packed = np.packbits(bits.reshape(19, 23, 16)[:, :, :12].reshape(19, -1), axis=1).tobytes()
    tags = {256: 23, 257: 19, 258: 12, 259: 1, 262: 1, 273: 0, 277: 1, 278: 19, 279: len(packed)}
    entries = {tag: Entry.of(LONG, value) for tag, value in tags.items()}
    entries[273] = Entry.of(LONG, len(block(entries)))
    return block(entries) + packed


def _tables() -> Iterator[tuple[str, str, bytes]]:
    degrees = _content(1, np.float32) * 30 - 5
    file = BytesIO()
    np.save(file, degrees)
    yield "npy", ".npy", file.getvalue()
    yield "csv", ".csv", "\n".join(";".join(map(str, row)) for row in degrees[:9]).encode()
    yield "pgm", ".pgm", b"P5 23 19 65535\n" + _content(1, np.uint16).astype(">u2").tobytes()
    yield "ppm", ".ppm", b"P6 23 19 255\n" + _content(3, np.uint8).tobytes()
    yield "ppm deep", ".ppm", b"P6 23 19 4095\n" + _content(3, np.uint16).astype(">u2").tobytes()
    yield "pfm", ".pfm", b"Pf\n23 19\n-1.0\n" + degrees.astype("<f4").tobytes()


def _thermal() -> list[Original]:
    try:
        import flyr  # noqa: F401
    except ImportError:
        return []
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from flir_files import flir_jpeg

    raw = 17000 + _content(1, np.uint8).astype(np.uint16)
    kinds = [{}, {"png": True}, {"order": "big"}, {"order": "big", "png": True}]
    kinds += [{"directory": "little"}, {"ycbcr": True}]
    data = [flir_jpeg(raw, _content(3, np.uint8), (1.3, 2, -1), **kind) for kind in kinds]
    return [Original(f"flir {k}", ".jpg", d, read_thermal) for k, d in enumerate(data)]


def chosen(only: str) -> list[Original]:
    """The originals of a kind, or with this in their name or suffix."""
    found = originals()
    if only in KINDS:
        return [one for one in found if one.kind == only]
    return [one for one in found if only in f"{one.name} {one.suffix}"]


def mutate(rng: np.random.Generator, data: bytes, others: list[bytes]) -> bytes:
    """A file with one to six injuries; a PNG mostly gets its checksums right again."""
    hurt = bytearray(data)
    for _ in range(int(rng.integers(1, 7))):
        if not hurt:
            break
        # Headers are where a byte decides most, so half of the injuries are near the beginning.
        reach = len(hurt) if rng.random() < 0.5 else min(len(hurt), 200)
        at = int(rng.integers(reach))
        _INJURIES[int(rng.integers(len(_INJURIES)))](rng, hurt, at, others)
    if data[:4] == b"\x89PNG" and rng.random() < 0.8:
        hurt = with_checksums(hurt)
    return bytes(hurt)


def _flip(rng, data, at, others) -> None:
    data[at] ^= 1 << int(rng.integers(8))


def _byte(rng, data, at, others) -> None:
    data[at] = int(rng.integers(256))


def _number(rng, data, at, others) -> None:
    size = int(rng.choice([1, 2, 4]))
    order = "little" if rng.random() < 0.5 else "big"
    value = INTERESTING[int(rng.integers(len(INTERESTING)))] % 256**size
    data[at : at + size] = value.to_bytes(size, order)


def _cut(rng, data, at, others) -> None:
    if rng.random() < 0.3:
        del data[at:]
    else:
        del data[at : at + int(rng.integers(1, 64))]


def _repeat(rng, data, at, others) -> None:
    piece = data[at : at + int(rng.integers(1, 64))]
    data[at:at] = piece * int(rng.integers(1, 20))


def _graft(rng, data, at, others) -> None:
    other = others[int(rng.integers(len(others)))]
    start = int(rng.integers(len(other)))
    piece = other[start : start + int(rng.integers(1, 256))]
    end = at + len(piece) if rng.random() < 0.7 else at
    data[at:end] = piece


def _zeros(rng, data, at, others) -> None:
    count = min(int(rng.integers(1, 64)), len(data) - at)
    data[at : at + count] = bytes([int(rng.choice([0, 255]))]) * count


_INJURIES = [_flip, _byte, _number, _number, _number, _cut, _repeat, _graft, _zeros]


def with_checksums(data: bytearray) -> bytearray:
    """A PNG with the checksum that each chunk should have, as far as chunks can be followed."""
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return data


def case(sound: list[Original], seed: int, number: int) -> tuple[Original, bytes]:
    """The file of this number: always the same for a seed."""
    rng = np.random.default_rng([seed, number])
    original = sound[number % len(sound)]
    data = original.data
    if original.odd is not None and rng.random() < 0.8:
        data = original.odd(rng, data)
        if rng.random() < 0.7:
            return original, data
    return original, mutate(rng, data, [one.data for one in sound])


def outcome(original: Original, path: Path) -> str:
    """ "result", "refused", or else what is wrong."""
    try:
        original.read(path)
    except DdfmError as error:
        text = str(error)
        if "not enough memory" in text:
            return "out of memory"
        return "refused" if "\n" not in text and len(text) < 600 else f"long-winded: {text!r}"
    except BaseException:
        return traceback.format_exc()
    return "result"


@dataclass
class Report:
    """The outcomes of the cases; `failures` by number, with the reason."""

    outcomes: Counter = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)
    slowest: tuple[float, int] = (0.0, -1)
    peak: int = 0  # bytes of memory, of the largest worker

    @property
    def cases(self) -> int:
        return sum(self.outcomes.values())


def fuzz(
    *, seed: int = 0, cases: int | None = None, seconds: float | None = None, only: str = ""
) -> Report:
    """Run a number of cases, or as many as possible within the seconds."""
    report, number = Report(), 0
    deadline = time.monotonic() + seconds if seconds is not None else float("inf")
    last = cases if cases is not None else 10**9
    while number < last and time.monotonic() < deadline:
        number = _run_worker(report, seed, number, last, deadline, only)
    return report


def _run_worker(
    report: Report, seed: int, first: int, last: int, deadline: float, only: str
) -> int:
    """Follow one worker until it is through, hangs or dies; gives the number to go on with."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_work, args=(theirs, seed, first, last, only), daemon=True)
    worker.start()
    theirs.close()
    number, patience = first, 60  # to start up
    try:
        while number < last and time.monotonic() < deadline:
            if not _answers(ours, worker.pid, patience):
                return _fail(report, number, f"no answer in {patience} seconds")
            try:
                number, result, took, peak = ours.recv()
            except EOFError:
                worker.join()
                return _fail(report, number, f"the process died with {worker.exitcode}")
            report.peak = max(report.peak, peak)
            report.slowest = max(report.slowest, (took, number))
            if result in ("result", "refused"):
                report.outcomes[result] += 1
            else:
                _fail(report, number, result)
            number, patience = number + 1, LIMIT_SECONDS
        return number
    finally:
        worker.kill()
        worker.join()


def _answers(pipe, worker: int, seconds: int) -> bool:
    """Whether a worker answers within a number of seconds of its own processor time.

    On a busy machine it may wait for its turn far longer than it computes.
    """
    start = _processor_seconds(worker)
    for _ in range(30):
        if pipe.poll(seconds):
            return True
        if _processor_seconds(worker) - start > 0.8 * seconds:
            return False
    return False


def _processor_seconds(worker: int) -> float:
    fields = Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _fail(report: Report, number: int, reason: str) -> int:
    report.outcomes["FAILED"] += 1
    report.failures[number] = reason
    return number + 1


def _work(pipe, seed: int, first: int, last: int, only: str) -> None:
    sound = chosen(only)
    with tempfile.TemporaryDirectory() as folder:
        noise = Path(folder) / "stderr"
        os.dup2(os.open(noise, os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT_MEMORY,) * 2)
        for number in range(first, last):
            original, data = case(sound, seed, number)
            path = original.write(Path(folder), data)
            before = path.read_bytes()
            start = time.process_time()
            result = outcome(original, path)
            took = time.process_time() - start
            if path.read_bytes() != before:
                result = "the file was changed"
            path.unlink()
            left = [one.name for one in Path(folder).iterdir() if one != noise]
            if left:
                result = f"left behind: {', '.join(left)}"
            if noise.stat().st_size:
                result = f"on standard error: {noise.read_text(errors='replace')[:500]}"
                os.truncate(noise, 0)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            pipe.send((number, result, took, peak))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cases", type=int, help="this many, instead of so many seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="originals with this in their name or suffix")
    parser.add_argument("--case", type=int, help="only this one, in this process")
    parser.add_argument("--keep", type=Path, help="a folder for the files that failed")
    parser.add_argument("--each", type=int, help="so many cases of every kind, one after the other")
    options = parser.parse_args()
    if options.each:
        options.cases = options.each
        kinds = [kind for kind in KINDS if options.only in kind]
        return max(_report(argparse.Namespace(**vars(options) | {"only": kind})) for kind in kinds)
    return _report(options)


def _report(options: argparse.Namespace) -> int:
    sound = chosen(options.only)
    get = partial(case, sound, options.seed)
    if options.case is not None:
        original, data = get(options.case)
        with tempfile.TemporaryDirectory() as folder:
            path = original.write(Path(folder), data)
            print(original.name, len(data), outcome(original, path), sep="\n")
        return 0
    seconds = None if options.cases else options.seconds
    report = fuzz(seed=options.seed, cases=options.cases, seconds=seconds, only=options.only)
    for number, reason in report.failures.items():
        print(f"case {number} ({get(number)[0].name}): {reason}")
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            original, data = get(number)
            path = original.write(options.keep, data)
            path.rename(options.keep / f"{options.seed}-{number}{original.suffix}")
    kind = options.only or "all"
    print(f"{kind}: {report.cases} cases of {len(sound)} originals: {dict(report.outcomes)}")
    took, number = report.slowest
    peak = f"peak memory: {report.peak / 2**20:.0f} MB"
    print(f"slowest: {took:.2f} s (case {number}); {peak}", flush=True)
    return 1 if report.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
