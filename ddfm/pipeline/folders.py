"""Folders of pairs, or of more images a scene: fused each as it would be alone, and resumed.

While one pair is computed, the next is read and checked by a second thread, and the one before is
encoded and written by a third. A pair is skipped if the manifest beside the results says that its
file was made with these settings from these sources, and if all three files are still the same, by
their sha256. A file that the manifest does not know is never replaced. See `ddfm.imaging.pairing`
for which files are a pair, `ddfm.storage.manifest` for what survives a kill at any moment.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ddfm.arguments import by_annotation
from ddfm.config import TASKS
from ddfm.errors import DdfmError, DdfmWarning, why_failed
from ddfm.fuser import Fuser, Fusion
from ddfm.imaging.files import Picture, check_output, output_suffix, read_image
from ddfm.imaging.formats.flir import check_reading, is_flir, read_flir
from ddfm.imaging.pairing import Pair, Pairing, both_in_one, find_pairs, image_files
from ddfm.pipeline.rig import aligned_once, spread
from ddfm.storage.manifest import Entry, Manifest, sources_entry
from ddfm.storage.outputs import keep_sources

__all__ = ["Outcome", "Summary", "find_pairs", "fuse_flir", "fuse_folders"]

AHEAD = 2  # pairs that wait for the network, or for the disk; each takes memory

Open = Callable[[Pair], tuple[Picture, ...]]


@dataclass(frozen=True)
class Outcome:
    """What became of a pair: "fused", "skipped" (it was done before), "failed" or "planned"."""

    pair: Pair
    output: Path
    status: str
    error: str = ""
    words: tuple[str, ...] = ()  # warnings about its sources

    def __str__(self) -> str:
        said = self.error or "; ".join(self.words)
        return f"{self.output}: {self.status}" + (f": {said}" if said else "")


@dataclass(frozen=True)
class Summary:
    """What became of a folder.

    Attributes:
        pairing: which files were pairs, and which were not.
        outcomes: what became of each pair, sorted by its name.
        seconds: that it took.
    """

    pairing: Pairing
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    def of(self, status: str) -> list[Outcome]:
        """The outcomes of one kind."""
        return [outcome for outcome in self.outcomes if outcome.status == status]

    @property
    def ok(self) -> bool:
        """Whether no pair failed."""
        return not self.of("failed")

    def plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        outcomes = [
            {
                "name": one.pair.name,
                "sources": list(map(str, one.pair.files)),
                "output": str(one.output),
                "status": one.status,
                **({"error": one.error} if one.error else {}),
            }
            for one in self.outcomes
        ]
        left = {name: list(map(str, files)) for name, files in self.pairing.ambiguous.items()}
        return {
            "outcomes": outcomes,
            "ambiguous": left,
            "unpaired": list(map(str, self.pairing.unpaired)),
            "seconds": round(self.seconds, 3),
        }

    def __str__(self) -> str:
        lines = [str(o) for o in self.outcomes if o.words or o.status == "failed"]
        lines += self.pairing.leftovers()
        kinds = ("fused", "skipped", "failed", "planned")
        counts = [f"{len(self.of(kind))} {kind}" for kind in kinds if self.of(kind)]
        left = len(self.pairing.ambiguous), len(self.pairing.unpaired)
        counts += [f"{left[0]} ambiguous names"] if left[0] else []
        counts += [f"{left[1]} files without a partner"] if left[1] else []
        return "\n".join([*lines, f"{', '.join(counts)} in {self.seconds:.1f} s"])


@dataclass(frozen=True)
class _Job:
    """A pair that was read: to skip, to fuse, or impossible."""

    pair: Pair
    output: str
    sources: list[Entry]
    pictures: tuple[Picture, ...] | None = None


@by_annotation
def fuse_folders(
    dir_a: str | os.PathLike[str],
    dir_b: str | os.PathLike[str],
    out: str | os.PathLike[str],
    fuser: Fuser | None = None,
    *,
    more: Sequence[str | os.PathLike[str]] = (),
    pattern: str | None = None,
    suffix: str | None = None,
    dry_run: bool = False,
    save_transform: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    callback: Callable[[Outcome], object] | None = None,
) -> Summary:
    """Fuses the pairs of two folders. A pair that fails does not stop the others.

    Args:
        dir_a, dir_b: the folders; with a pattern they may be one and the same.
        more: folders of third images, fourth images, ..., each with one for every pair.
        out: the folder of the results, which is made where there is none. Each is called by what
            the names of its pair share.
        fuser: what fuses; None is `Fuser()`.
        pattern: a name for the images of each folder, such as "{}_thermal.png:{}_rgb.jpg".
        suffix: of the results; None is ".png", or ".tif" for pairs of TIFF files.
        dry_run: whether to say what would be done, and do nothing.
        save_transform: where to write the one transform of all pairs (align="once").
        progress: a bar; None shows one on a terminal.
        callback: is called with each `Outcome`, in the thread that asked.
    """
    folders = (dir_a, dir_b, *more)
    _check_apart(out, *folders)
    pairing = find_pairs(*folders, pattern=pattern)
    if not pairing.pairs:
        others = " and ".join(str(folder) for folder in folders[1:])
        raise DdfmError(
            f"no image of {dir_a} has a partner in {others} by its name; a pattern such as "
            "'{}_thermal.png:{}_rgb.jpg' says which belong together"
        )
    outputs = {pair: pair.name + _suffix(pair, suffix) for pair in pairing.pairs}
    if fuser is not None:
        fuser.check_number(len(folders))
    if dry_run:
        return _planned(pairing, outputs, Path(out))
    fuser = fuser or Fuser()
    return _fuse_all(
        pairing, outputs, Path(out), _Work(fuser, save_transform=save_transform), progress, callback
    )


@by_annotation
def fuse_flir(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    fuser: Fuser | None = None,
    *,
    suffix: str | None = None,
    dry_run: bool = False,
    save_transform: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    callback: Callable[[Outcome], object] | None = None,
    **reading: Any,
) -> Summary:
    """Fuses what each radiometric JPEG of a folder holds: a thermal image and a photograph.

    Args:
        folder, out: the folders. Each result is called by its file; other files are left out.
        reading: keywords of `read_flir`, such as celsius=(15, 40), which gives the same
            temperature the same level in all of them.
        fuser, suffix, dry_run, save_transform, progress, callback: as for `fuse_folders`.
    """
    _check_apart(out, folder)
    check_reading(**reading)
    pairing = both_in_one(path for path in image_files(folder) if is_flir(path))
    if not pairing.pairs:
        raise DdfmError(
            f"no file of {folder} has radiometric data of a FLIR camera in it; "
            "folders of other images come in twos"
        )
    outputs = {pair: pair.name + _suffix(pair, suffix) for pair in pairing.pairs}
    if dry_run:
        return _planned(pairing, outputs, Path(out))

    def open_flir(pair: Pair) -> tuple[Picture, ...]:
        thermal, visible = read_flir(*pair.files, **reading)
        return thermal, visible

    work = _Work(fuser or Fuser(), open_flir, {"flir": reading}, save_transform)
    return _fuse_all(pairing, outputs, Path(out), work, progress, callback)


def _open(pair: Pair) -> tuple[Picture, ...]:
    return tuple(map(read_image, pair.files))


@dataclass(frozen=True)
class _Work:
    """What is done with each pair.

    Attributes:
        open: reads it.
        settings: of reading, that the results depend on.
        save_transform: where the one transform of all pairs is written.
    """

    fuser: Fuser
    open: Open = _open
    settings: Entry = field(default_factory=dict)
    save_transform: str | os.PathLike[str] | None = None


def _check_apart(out: str | os.PathLike[str], *sources: str | os.PathLike[str]) -> None:
    if Path(out).resolve() in (Path(source).resolve() for source in sources):
        raise DdfmError(f"{out} holds the sources; give the results a folder of their own")


def _planned(pairing: Pairing, outputs: dict[Pair, str], out: Path) -> Summary:
    return Summary(pairing, [Outcome(pair, out / o, "planned") for pair, o in outputs.items()])


def _fuse_all(
    pairing: Pairing,
    outputs: dict[Pair, str],
    out: Path,
    work: _Work,
    progress: bool | None,
    callback: Callable[[Outcome], object] | None,
) -> Summary:
    begin = time.monotonic()
    outcomes = []
    if work.fuser.config.align == "once":
        sample = (work.open(pair) for pair in spread(list(outputs)))
        work = replace(work, fuser=aligned_once(work.fuser, sample))
    if work.save_transform is not None:
        work.fuser.save_transform(work.save_transform)
    with Manifest(out) as manifest:
        manifest.keep_others(outputs.values())
        for name in {Path(name).suffix: name for name in outputs.values()}.values():
            check_output(out / name)  # one of each format
        files = (path for pair in outputs for path in pair.files)
        keep_sources((out / name for name in outputs.values()), files)
        done = _run(outputs, manifest, work)
        disable = None if progress is None else not progress
        for outcome in tqdm(done, total=len(outputs), unit="pair", disable=disable, leave=False):
            outcomes.append(outcome)
            if callback is not None:
                callback(outcome)
    outcomes.sort(key=lambda outcome: outcome.pair.name)
    return Summary(pairing, outcomes, time.monotonic() - begin)


def _suffix(pair: Pair, suffix: str | None) -> str:
    if suffix is not None:
        return output_suffix(suffix)
    tiffs = all(path.suffix.lower() in (".tif", ".tiff") for path in pair.files)
    return ".tif" if tiffs else ".png"


def _run(outputs: dict[Pair, str], manifest: Manifest, work: _Work) -> Iterator[Outcome]:
    """Reads ahead, fuses, writes behind."""
    settings = _possible_settings(work)

    def outcome(pair: Pair, status: str, error: object = "") -> Outcome:
        return Outcome(pair, manifest.folder / outputs[pair], status, str(error))

    def read(pair: Pair) -> _Job:
        return _read(pair, outputs[pair], manifest, settings, work.open)

    reader, writer = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    writing: deque[tuple[Pair, Future[None], tuple[str, ...]]] = deque()

    def written(pair: Pair, future: Future[None], words: tuple[str, ...]) -> Outcome:
        try:
            future.result()
        except DdfmError as error:
            return outcome(pair, "failed", error)
        return replace(outcome(pair, "fused"), words=words)

    try:
        for pair, future in _ahead(reader, read, outputs):
            try:
                job = future.result()
                if job.pictures is None:
                    yield outcome(pair, "skipped")
                    continue
                begin = time.monotonic()
                with warnings.catch_warnings():  # they are in the summary
                    warnings.simplefilter("ignore", DdfmWarning)
                    fusion = work.fuser(*job.pictures, progress=False)
                seconds = time.monotonic() - begin
            except (DdfmError, MemoryError, RuntimeError) as error:
                yield outcome(pair, "failed", why_failed(error))
                continue
            done = writer.submit(_write, job, fusion, seconds, manifest, work.settings)
            writing.append((pair, done, fusion.words))
            while len(writing) > AHEAD or (writing and writing[0][1].done()):
                yield written(*writing.popleft())
        while writing:
            yield written(*writing.popleft())
    finally:
        # What is being written is finished; what waits to be read or written is not begun.
        reader.shutdown(cancel_futures=True)
        writer.shutdown(cancel_futures=True)


def _ahead(
    reader: ThreadPoolExecutor, read: Callable[[Pair], _Job], pairs: Iterable[Pair]
) -> Iterator[tuple[Pair, Future[_Job]]]:
    """Each pair with its job, while those after it are being read."""
    waiting: deque[tuple[Pair, Future[_Job]]] = deque()
    for pair in pairs:
        waiting.append((pair, reader.submit(read, pair)))
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting


def _read(
    pair: Pair, output: str, manifest: Manifest, settings: list[Entry], open_pair: Open
) -> _Job:
    sources = sources_entry(pair.files)
    entry = manifest.get(output)
    if entry is not None and entry.get("sources") == sources and _is_any(entry, settings):
        return _Job(pair, output, sources)
    pictures = open_pair(pair)
    if len({picture.size for picture in pictures}) == 1:  # else it may yet be refused, or resized
        check_output(manifest.folder / output, pictures[0].size)
    return _Job(pair, output, sources, pictures)


def _write(job: _Job, fusion: Fusion, seconds: float, manifest: Manifest, reading: Entry) -> None:
    settings = {key: value for key, value in fusion.settings.items() if key != "sources"} | reading
    entry = {"sources": job.sources, "settings": settings, "seconds": round(seconds, 3)}
    with manifest.adding(job.output, entry) as temporary:
        fusion.save(temporary)


def _possible_settings(work: _Work) -> list[Entry]:
    """What this work may have written into a manifest; an automatic task may be any task."""
    tasks = TASKS if work.fuser.config.task == "auto" else (work.fuser.config.task,)
    return [json.loads(json.dumps(work.fuser.settings(t) | work.settings)) for t in tasks]


def _is_any(entry: Entry, settings: list[Entry]) -> bool:
    made: dict[str, Any] = entry.get("settings") or {}
    return any(all(made.get(key) == value for key, value in s.items()) for s in settings)
