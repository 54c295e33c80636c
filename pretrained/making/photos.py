"""Rebuilds the training photographs of the shipped prior from Debian packages.

`python pretrained/making/photos.py OUT` downloads the packages below with `apt-get download`,
unpacks them without installing, selects photographs under clearly free licences, and writes

    OUT/train/*.png, OUT/val/*.png   8-bit RGB, short side at most 1024
    OUT/photos.csv                   one line per picture: its source, licence and sha256

The photographs are never committed, but their list is (`photos.csv` beside this file), and a
rebuilt set is compared with it at the end. Downloads and prepared pictures are kept in OUT/.cache,
so that an interrupted run can be resumed. This file follows the order of the steps: fetch, licence,
measure, drop near-duplicates, split, write. It needs only NumPy, Pillow and a Debian system (12 for
identical packages), not ddfm.

Deliberately left out, although free packages have them: test pictures of unknown origin
(opencv-doc, visp-images-data, tuxtype-data), cut-out objects (tuxpaint-stamps-default,
stellarium-data), and the textures and skies of games.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import gzip
import hashlib
import io
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

__all__ = [
    "Package",
    "Photo",
    "build",
    "correlation",
    "differences",
    "drop_duplicates",
    "is_free",
    "licence_of",
    "objection",
    "prepare",
    "split_of",
]

SHORT_SIDE = 1024  # largest short side of a prepared picture, in pixels
SMALLEST = 256  # smallest short side of a prepared picture, in pixels
COARSE = 30.0  # largest mean step of a JPEG's luminance table, about quality 75
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm"}
LIST = Path(__file__).with_name("photos.csv")
COLUMNS = "file split package version licence source width height sha256".split()


@dataclass(frozen=True)
class Package:
    """A Debian package with photographs; `licence` if its copyright file does not tell it."""

    name: str
    licence: str = ""
    only: tuple[str, ...] = ("*",)  # patterns of the paths inside it that hold photographs
    shrink: float = 1.0  # least factor of reduction, to remove artefacts of strong compression


PACKAGES = (
    Package("plasma-workspace-wallpapers"),
    Package("mate-backgrounds"),
    Package("lomiri-wallpapers"),
    Package("lomiri-wallpapers-16.04"),
    Package("lomiri-wallpapers-20.04"),
    Package("ukui-wallpapers"),
    Package("lxqt-themes"),
    Package("palapeli-data", only=("*/collection/*",)),
    Package("enlightenment-data", only=("*/backgrounds/*",)),
    Package(
        "gcompris-qt-data",
        only=tuple(f"*/activities/{name}/resource/*" for name in ("clickgame", "details", "erase"))
        + ("*/activities/explore_*/resource/*",),
        shrink=1.5,
    ),
    Package("kphotoalbum", licence="GPL-2+", only=("*/kphotoalbum/demo/*",)),
    Package("tuxpaint-data", only=("*/templates/*", "*/starters/*")),
    Package("sddm-theme-maldives", only=("*/background.jpg",)),
    Package("digikam-data", licence="GPL-2+", only=("*/body-background.jpg",)),
    Package("libjxl-testdata", only=("*/flower/flower.png", "*/wesaturate/*")),
    Package("qtdeclarative5-examples", only=("*/niagara_falls.jpg",)),
    Package("python3-skimage", only=("*/skimage/data/*",)),
)

# Pictures that the measurements below take for photographs, though inspection shows that they are
# not: patterns of "package:path inside it", and the reason.
EXCLUDED = {
    "gcompris-qt-data:*/details/*Eglise_*": "painting",
    "gcompris-qt-data:*/details/*Gogh*": "painting",
    "gcompris-qt-data:*/details/*PereTanguy*": "painting",
    "gcompris-qt-data:*/explore_farm_animals/*/owl.webp": "painted over",
    "lomiri-wallpapers-16.04:*/analogpattern_*": "composed",
    "lomiri-wallpapers-20.04:*/Infinite-Sea_*": "composed",
    "lxqt-themes:*/plasma_arch.png": "logo on a rendering",
    "mate-backgrounds:*/abstract/Elephants*": "painting",
    "mate-backgrounds:*/desktop/Ubuntu-Mate-*": "rendering",
    "plasma-workspace-wallpapers:*/Autumn/*": "painting",
    "plasma-workspace-wallpapers:*/Canopee/*": "drawing",
    "plasma-workspace-wallpapers:*/Honeywave/*": "rendering",
    "plasma-workspace-wallpapers:*/Patak/*": "rendering",
    "plasma-workspace-wallpapers:*/SafeLanding/*": "drawing",
    "plasma-workspace-wallpapers:*/Shell/*": "rendering",
    "python3-skimage:*/hubble_deep_field.jpg": "points on black",
    "python3-skimage:*/ihc.png": "microscopy",
    "python3-skimage:*/moon.png": "blurred",
    "python3-skimage:*/motorcycle_right.png": "the other eye of motorcycle_left.png",
    "python3-skimage:*/retina.jpg": "microscopy",
    "tuxpaint-data:*/mossy_bark.jpg": "black bars",
    "ukui-wallpapers:*/string.jpg": "rendering",
}

# The reverse: photographs with so much out of focus that the measurements take them for drawings.
KEPT = (
    "enlightenment-data:*/God-Rays.edj!/*",
    "enlightenment-data:*/Sunset-Clouds.edj!/*",
    "gcompris-qt-data:*",
    "kphotoalbum:*/sunset.jpg",
    "lxqt-themes:*/Butterfly-Kenneth-Wimer.jpg",
    "lxqt-themes:*/Valendas.png",
    "lxqt-themes:*/appleflower.png",
    "lxqt-themes:*/beam.png",
    "lxqt-themes:*/butterfly.png",
    "lxqt-themes:*/cloud.png",
    "lxqt-themes:*/drop.png",
    "mate-backgrounds:*/FreshFlower.jpg",
    "tuxpaint-data:*/lighthouse.jpg",
)

# Validation pictures, by name, so that adding packages never moves a picture across the split.
VALIDATION = (
    "lomiri-wallpapers-16.04:*/friends_by_*",
    "lomiri-wallpapers-16.04:*/life_by_*",
    "mate-backgrounds:*/LadyBird.jpg",
    "plasma-workspace-wallpapers:*/EveningGlow/*",
    "python3-skimage:*",
)


@dataclass(frozen=True)
class Photo:
    """A prepared picture and its origin."""

    package: str
    version: str
    licence: str
    source: str  # the path inside the package
    path: Path  # of the prepared picture
    quantisation: float = 0.0  # mean step of the JPEG table divided by the factor of reduction

    @property
    def key(self) -> str:
        return f"{self.package}:{self.source}"

    @property
    def name(self) -> str:
        return slug(self.package, self.source)


def slug(package: str, source: str) -> str:
    """A unique, readable and safe file name for a picture."""
    stem = re.sub(r"^usr/(share|lib)/", "", str(Path(source).with_suffix("")))
    stem = re.sub(rf"(^|/){re.escape(package)}/", r"\1", stem)
    return re.sub(r"[^A-Za-z0-9.+]+", "-", f"{package}-{stem}") + ".png"


# --- fetch ---------------------------------------------------------------------------------------


def fetch(package: str, cache: Path) -> tuple[Path, str]:
    """The folder of an unpacked package, and its version; downloads and unpacks it only once."""
    debs, trees = cache / "debs", cache / "trees"
    debs.mkdir(parents=True, exist_ok=True)
    trees.mkdir(parents=True, exist_ok=True)
    if not (found := sorted(debs.glob(f"{package}_*.deb"))):
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            os.chmod(folder, 0o755)  # apt's own user may have to enter it
            _run("apt-get", "-q", "download", package, cwd=folder)
            for file in Path(folder).glob("*.deb"):
                os.replace(file, debs / file.name)
        found = sorted(debs.glob(f"{package}_*.deb"))
    deb = found[-1]
    tree = trees / deb.stem
    if not tree.is_dir():
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            _run("dpkg-deb", "-x", str(deb), f"{folder}/tree")
            open_containers(Path(folder) / "tree")
            os.replace(f"{folder}/tree", tree)
    return tree, deb.stem.split("_")[1].replace("%3a", ":")


def _run(*command: str, cwd: str | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit(f"{command[0]} is missing: this script needs a Debian system") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise SystemExit(f"{' '.join(command)} failed: {lines[-1]}")


def open_containers(tree: Path) -> None:
    """Extract the pictures in Qt resources and Edje files into a folder `NAME!` beside each."""
    for file in sorted(tree.rglob("*")):
        reader = {".rcc": qt_resources, ".edj": edje_picture}.get(file.suffix)
        if reader is None or file.is_symlink() or not file.is_file():
            continue
        for name, data in reader(file.read_bytes()):
            target = Path(f"{file}!") / name.lstrip("/")
            if target.suffix.lower() in SUFFIXES and ".." not in target.parts:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)


def qt_resources(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of the uncompressed files, such as pictures, in a Qt binary resource."""
    magic, version, tree, contents, names = struct.unpack(">4s4I", data[:20])
    if magic != b"qres":
        return
    size = 14 if version < 2 else 22
    todo = [(0, "")]
    while todo:
        index, folder = todo.pop()
        node = tree + index * size
        name_at, flags = struct.unpack_from(">IH", data, node)
        length = struct.unpack_from(">H", data, names + name_at)[0] if index else 0
        start = names + name_at + 6
        path = f"{folder}/{data[start : start + 2 * length].decode('utf-16-be')}"
        if flags & 2:  # a folder: number and index of its children
            count, first = struct.unpack_from(">II", data, node + 6)
            todo += [(child, path if index else "") for child in range(first, first + count)]
        elif not flags & 5:  # neither zlib nor zstd
            start = contents + struct.unpack_from(">I", data, node + 10)[0]
            length = struct.unpack_from(">I", data, start)[0]
            yield path, data[start + 4 : start + 4 + length]


def edje_picture(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The largest JPEG in an Edje file, which holds a wallpaper at many sizes."""
    sizes = {}
    for match in re.finditer(b"\xff\xd8\xff", data):
        with (
            suppress(OSError, SyntaxError),
            Image.open(io.BytesIO(data[match.start() :]), formats=["JPEG"]) as image,
        ):
            sizes[match.start()] = image.width * image.height
    if sizes:
        yield "largest.jpg", data[max(sizes, key=lambda start: sizes[start]) :]


# --- licence -------------------------------------------------------------------------------------

FREE = re.compile(
    r"(CC0|CC-BY(-SA)?-\d|L?GPL|AGPL|public-domain|BSD|Expat|MIT\b|Apache|Artistic|FAL|zlib)", re.I
)


def is_free(licence: str) -> bool:
    """Whether a licence's short name, as in debian/copyright, is clearly that of a free licence."""
    alternatives = re.split(r"\s+or\s+|\s*\|\s*", licence.strip(), flags=re.I)
    return any(
        all(
            FREE.match(part) and not re.search(r"-(NC|ND)\b", part, re.I)
            for part in re.split(r"\s+and\s+|,\s*(?:and\s+)?", choice.strip(", "), flags=re.I)
        )
        for choice in alternatives
    )


def licence_of(source: str, copyright_text: str) -> str:
    """The licence that a machine-readable debian/copyright gives for a file, or "" if it has none.

    Its patterns are paths in the source package, `source` is the installed path, and pictures may
    have been converted in between. So a pattern fits if it matches the end of the path apart from
    the suffix; otherwise, if it names the same file; otherwise, if it is `*`. As the format
    specifies, the last paragraph that fits applies.
    """
    best = {1: "", 2: "", 3: ""}
    for paragraph in re.split(r"\n\s*\n", copyright_text):
        fields = _fields(paragraph)
        if "files" not in fields or not (lines := fields.get("license", "").splitlines()):
            continue
        for pattern in fields["files"].replace(",", " ").split():
            if fit := _fit(source, pattern):
                best[fit] = lines[0].strip()
    return best[3] or best[2] or best[1]


def _fields(paragraph: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    key = ""
    for line in paragraph.strip("\n").splitlines():
        if head := re.match(r"([A-Za-z-]+):\s*(.*)", line):
            key = head[1].lower()
            fields[key] = head[2]
        elif key:
            fields[key] += "\n" + line
    return fields


def _fit(source: str, pattern: str) -> int:
    """0: no fit, 1: the catch-all, 2: the same file name, 3: the same path."""
    pattern = pattern.removeprefix("./")
    if pattern == "*":
        return 1
    if pattern.startswith("debian/"):  # the packaging, which is not installed
        return 0
    source, pattern = (re.sub(r"\.[A-Za-z]+$", "", path) for path in (source, pattern))
    if fnmatch.fnmatchcase("/" + source, "*/" + pattern):
        return 3
    name = pattern.rsplit("/", 1)[-1]
    return 2 if "*" not in name and source.rsplit("/", 1)[-1] == name else 0


def copyright_text(tree: Path, package: str) -> str:
    folder = tree / "usr/share/doc" / package
    for file in sorted(folder.glob("copyright*")) if folder.is_dir() else []:
        if not file.is_file():
            continue
        data = file.read_bytes()
        return (gzip.decompress(data) if file.suffix == ".gz" else data).decode("utf-8", "replace")
    return ""


# --- measure -------------------------------------------------------------------------------------


def prepare(source: Path, target: Path, short_side: int = SHORT_SIDE, shrink: float = 1.0) -> float:
    """Write `source` as an upright RGB PNG of limited size; returns its JPEG quantisation.

    That is the mean step of its luminance table divided by the factor of reduction, which averages
    artefacts; 0 for other formats. Strongly compressed pictures are reduced by a factor of up to 2.
    """
    with Image.open(source) as image:
        tables = getattr(image, "quantization", None)
        quantisation = float(np.mean(tables[0])) if tables else 0.0
        factor = max(shrink, min(image.size) / short_side, min(quantisation / COARSE, 2))
        if not target.exists():
            picture = ImageOps.exif_transpose(image)
            if picture.has_transparency_data and picture.convert("RGBA").getextrema()[3][0] < 250:
                raise ValueError("see-through")
            if picture.mode.startswith("I"):
                raise ValueError("not 8 bits")
            picture = picture.convert("RGB")
            size = [max(1, round(side / factor)) for side in picture.size]
            if factor > 1:
                picture = picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
            temporary = target.with_suffix(".partial")
            picture.save(temporary, format="PNG")
            os.replace(temporary, target)
    return quantisation / factor


def luminance(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), dtype=np.float32)


def objection(grey: np.ndarray, quantisation: float = 0.0) -> str:
    """Why a picture (luminance, 0 to 255) is not used; "" if it is.

    Photographs have texture and noise nearly everywhere. Drawings, renderings and gradients have
    large areas where neighbouring pixels are equal, or hardly any steep edges.
    """
    if min(grey.shape) < SMALLEST:
        return "tiny"
    if quantisation > COARSE + 0.5:
        return "heavily compressed"
    steps = np.abs(np.diff(grey, axis=1))[:-1] + np.abs(np.diff(grey, axis=0))[:, :-1]
    if np.mean(steps == 0) > 0.4:
        return "flat areas, as in a drawing"
    if np.mean(steps) < 1.6 or np.mean(steps > 12) < 0.01:
        return "smooth, as a gradient"
    levels = np.bincount(grey.astype(np.uint8).ravel(), minlength=256)
    if np.sort(levels)[-8:].sum() > 0.75 * grey.size:
        return "few levels, as in a drawing"
    return ""


# --- near-duplicates -----------------------------------------------------------------------------

DUPLICATE = 0.8  # correlation from which pictures are near-duplicates
THUMB = 96  # height in pixels of what is compared


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Similarity of two pictures (luminance): the correlation of their structure at low resolution.

    The wider one is first cropped to the aspect ratio of the other, since wallpapers come in
    several. Slow changes of brightness are removed, since many landscapes have the same.
    """
    shape = min(a.shape[1] / a.shape[0], b.shape[1] / b.shape[0])
    a, b = (_structure(_crop(picture, shape)) for picture in (a, b))
    return float(np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-9))


def _crop(picture: np.ndarray, shape: float) -> np.ndarray:
    height, width = picture.shape
    keep = min(width, max(1, round(height * shape)))
    left = (width - keep) // 2
    return picture[:, left : left + keep]


def _structure(picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray(picture.astype(np.float32))
    fine = image.resize((24, 24), Image.Resampling.BOX)
    coarse = image.resize((4, 4), Image.Resampling.BOX).resize((24, 24), Image.Resampling.BICUBIC)
    difference = np.asarray(fine) - np.asarray(coarse)
    return difference - difference.mean()


def thumbnail(grey: np.ndarray) -> np.ndarray:
    width = max(1, round(grey.shape[1] * THUMB / grey.shape[0]))
    image = Image.fromarray(grey.astype(np.float32))
    return np.asarray(image.resize((width, THUMB), Image.Resampling.BOX))


def drop_duplicates(photos: Sequence[Photo], thumbnails: Sequence[np.ndarray]) -> list[int]:
    """The indices to keep: of near-duplicates, a validation picture if any, else the first.

    So no near-duplicates are on both sides of the split, and packages added at the end do not
    affect those before them.
    """
    order = sorted(range(len(photos)), key=lambda i: split_of(photos[i]) != "val")
    kept: list[int] = []
    for i in order:
        if all(correlation(thumbnails[i], thumbnails[j]) < DUPLICATE for j in kept):
            kept.append(i)
    return sorted(kept)


def split_of(photo: Photo) -> str:
    """`val` for the pictures named for validation, else `train`."""
    return "val" if _matches(photo.key, VALIDATION) else "train"


def _matches(key: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)


# --- the whole -----------------------------------------------------------------------------------


def candidates(package: Package, cache: Path) -> list[Photo]:
    """The package's pictures under free licences, prepared; others are reported."""
    tree, version = fetch(package.name, cache)
    text = copyright_text(tree, package.name)
    files = sorted(
        str(file.relative_to(tree))
        for file in tree.rglob("*")
        if file.suffix.lower() in SUFFIXES and file.is_file() and not file.is_symlink()
    )
    # Of files that differ only in their suffix, the first is used.
    sources = {slug(package.name, source): source for source in reversed(files)}.values()

    def one(source: str) -> Photo | None:
        key = f"{package.name}:{source}"
        if not _matches(source, package.only) or _matches(key, EXCLUDED):
            return None
        licence = package.licence or licence_of(source, text)
        if not is_free(licence):
            return _report(key, f"licence {licence or 'unknown'}")
        target = prepared / slug(package.name, source)
        try:
            with Image.open(tree / source) as image:
                if min(image.size) / package.shrink < SMALLEST:
                    return None
            quantisation = prepare(tree / source, target, SHORT_SIDE, package.shrink)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            return _report(key, str(error))
        return Photo(package.name, version, licence, source, target, quantisation)

    prepared = cache / f"prepared-{SHORT_SIDE}-{package.shrink}"
    prepared.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        photos = [photo for photo in pool.map(one, sources) if photo]
    # The largest version of a picture comes first, so that it is the one kept.
    return sorted(photos, key=lambda p: (-p.path.stat().st_size, p.source))


def _report(key: str, reason: str) -> None:
    print(f"  - {key}: {reason}", file=sys.stderr)


def select(photos: Iterable[Photo]) -> list[Photo]:
    """The photographs among the pictures, without near-duplicates."""
    good, thumbnails = [], []
    for photo in photos:
        grey = luminance(photo.path)
        reason = objection(grey, photo.quantisation)
        if reason and not _matches(photo.key, KEPT):
            _report(photo.key, reason)
        else:
            good.append(photo)
            thumbnails.append(thumbnail(grey))
    kept = drop_duplicates(good, thumbnails)
    for i in sorted(set(range(len(good))) - set(kept)):
        _report(good[i].key, "near-duplicate")
    return [good[i] for i in kept]


def build(out: Path, packages: Sequence[Package] = PACKAGES) -> list[dict[str, str]]:
    """Fetch, select and write everything under `out`; returns the rows of its photos.csv."""
    cache = out / ".cache"
    cache.mkdir(parents=True, exist_ok=True)
    photos: list[Photo] = []
    for package in packages:
        print(f"{package.name}", file=sys.stderr)
        photos += candidates(package, cache)
    rows = [_place(photo, out) for photo in select(photos)]
    rows.sort(key=lambda row: (row["split"], row["file"]))
    for split in ("train", "val"):
        wanted = {row["file"] for row in rows if row["split"] == split}
        for file in (out / split).glob("*.png"):
            if file.name not in wanted:
                file.unlink()
    temporary = out / ".photos.csv.partial"
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    os.replace(temporary, out / "photos.csv")
    return rows


def _place(photo: Photo, out: Path) -> dict[str, str]:
    split = split_of(photo)
    (out / split).mkdir(exist_ok=True)
    target = out / split / photo.name
    temporary = target.with_suffix(".partial")
    shutil.copyfile(photo.path, temporary)
    os.replace(temporary, target)
    with Image.open(target) as image:
        width, height = image.size
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    values = (photo.name, split, photo.package, photo.version, photo.licence, photo.source)
    return dict(zip(COLUMNS, (*values, str(width), str(height), digest), strict=True))


def differences(rows: Sequence[dict[str, str]], listed: Sequence[dict[str, str]]) -> str:
    """A sentence that tells how a rebuilt set differs from the list shipped with the weights."""
    ours, theirs = ({row["file"]: row["sha256"] for row in table} for table in (rows, listed))
    both = ours.keys() & theirs.keys()
    same = sum(ours[file] == theirs[file] for file in both)
    return (
        f"{same} of the {len(theirs)} listed photographs are the same to the bit, "
        f"{len(both) - same} differ, {len(theirs) - len(both)} are missing, "
        f"{len(ours) - len(both)} are new"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Rebuild the training photographs of the prior.")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write to")
    out = parser.parse_args(arguments).out
    try:
        rows = build(out)
    except OSError as error:
        raise SystemExit(f"{error.filename or out}: {error.strerror or error}") from None
    pixels = sum(int(row["width"]) * int(row["height"]) for row in rows)
    print(f"{len(rows)} photographs, {pixels / 1e6:.1f} megapixels in {out}")
    if LIST.exists():
        with open(LIST, newline="", encoding="utf-8") as file:
            print(differences(rows, list(csv.DictReader(file))))


if __name__ == "__main__":
    main()
