"""Priors from the Hugging Face Hub, or from a compatible server: hf://OWNER/NAME.

Only tensors (safetensors) and settings (JSON) are downloaded, never code or pickles, which could
run a program. The server gives the commit of a revision and the sha256 of its weights. The files
are cached under the commit; once there, hf://OWNER/NAME@COMMIT needs no connection.
$HF_ENDPOINT names another server.
"""

from __future__ import annotations

import os
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddfm.errors import DownloadError, InputError
from ddfm.priors.download import cache_dir, download, read_json
from ddfm.priors.verify import verify
from ddfm.storage.files import make_folder, write_json
from ddfm.storage.inputs import json_object, read_text

__all__ = ["Place", "fetch", "is_of_hub", "place_of"]

SCHEME = "hf://"
OWN = "model.safetensors"  # as `Prior.save_pretrained` writes it
_WORD = r"[A-Za-z0-9][\w.-]{0,95}"
_NAME = re.compile(rf"hf://({_WORD})/({_WORD})(?:@([A-Za-z0-9][\w.-]{{0,127}}))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_OF_DIFFUSERS = re.compile(
    r"(unet/)?(config\.json|diffusion_pytorch_model\.safetensors|scheduler_config\.json)"
    r"|scheduler/scheduler_config\.json|model_index\.json"
)
LISTING = "ddfm-files.json"  # the list of a commit's files, kept next to them


@dataclass(frozen=True)
class Place:
    """A repository on a hub, at a revision."""

    owner: str
    name: str
    revision: str = "main"

    @property
    def folder(self) -> Path:
        return cache_dir() / "hub" / f"{self.owner}--{self.name}"

    @property
    def repository(self) -> str:
        return f"{self.owner}/{self.name}"


def is_of_hub(text: object) -> bool:
    """Whether `text` names a prior on a hub."""
    return isinstance(text, str) and text.startswith(SCHEME)


def place_of(text: str) -> Place:
    """The repository and revision that a name stands for; raises if it is malformed."""
    match = _NAME.fullmatch(text)
    if match is None or ".." in text:
        raise InputError(
            f"a prior on a hub is hf://OWNER/NAME or hf://OWNER/NAME@REVISION, not {text!r}"
        )
    return Place(match[1], match[2], match[3] or "main")


def fetch(text: str) -> Path:
    """Download the missing files of a prior; return its file, or its folder if from diffusers."""
    place = place_of(text)
    listing = _known(place)
    if listing is None:
        listing = _asked(place)
    folder = place.folder / listing["commit"]
    for file, about in listing["files"].items():
        target = folder / file
        if target.is_file():
            verify(target, about["sha256"], about["size"])
            continue
        make_folder(target.parent)
        url = f"{_endpoint()}/{place.repository}/resolve/{listing['commit']}/{file}"
        download(url, target, sha256=about["sha256"], size=about["size"])
    if not (folder / LISTING).exists():
        write_json(folder / LISTING, listing)
    return folder / OWN if OWN in listing["files"] else folder


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _known(place: Place) -> dict[str, Any] | None:
    """The listing of a commit's files, if they are in the cache."""
    file = place.folder / place.revision / LISTING
    if not _COMMIT.fullmatch(place.revision) or not file.is_file():
        return None
    return _checked(json_object(read_text(file), str(file)), str(file))


def _asked(place: Place) -> dict[str, Any]:
    """The listing of a prior's files, from the server."""
    revision = urllib.parse.quote(place.revision, safe="")
    url = f"{_endpoint()}/api/models/{place.repository}/revision/{revision}?blobs=true"
    answer = read_json(url)
    commit, siblings = answer.get("sha"), answer.get("siblings")
    if not (isinstance(commit, str) and _COMMIT.fullmatch(commit) and isinstance(siblings, list)):
        raise DownloadError(f"the answer of {url} is not that of a hub")
    there = {str(each.get("rfilename")): each for each in siblings if isinstance(each, dict)}
    wanted = [OWN] if OWN in there else [name for name in there if _OF_DIFFUSERS.fullmatch(name)]
    if not any(name.endswith(".safetensors") for name in wanted):
        raise InputError(
            f"{SCHEME}{place.repository} has no {OWN}, nor a diffusers model with its weights as "
            "safetensors; other files are not downloaded, since they could run a program"
        )
    files = {}
    for name in wanted:
        large = there[name].get("lfs")
        digest = large.get("sha256") if isinstance(large, dict) else None
        files[name] = {"sha256": digest, "size": there[name].get("size")}
    return _checked({"commit": commit, "files": files}, url)


def _checked(listing: dict[str, Any], where: str) -> dict[str, Any]:
    """The listing; raises unless its files are a prior's, with sizes, and sha256 of weights."""
    files = listing.get("files")
    if not _COMMIT.fullmatch(str(listing.get("commit"))) or not isinstance(files, dict):
        raise InputError(f"{where} is not a list of the files of a prior")
    for name, about in files.items():
        if name != OWN and not _OF_DIFFUSERS.fullmatch(name):
            raise InputError(f"{where} lists {name}, which is not part of a prior")
        told = about if isinstance(about, dict) else {}
        size, digest = told.get("size"), told.get("sha256")
        if not isinstance(size, int) or not re.fullmatch("[0-9a-f]{64}|None", str(digest)):
            raise DownloadError(f"{where} gives no valid size and sha256 of {name}")
        if digest is None and name.endswith(".safetensors"):
            raise DownloadError(f"{where} publishes no sha256 of {name}; it is not downloaded")
    return listing
