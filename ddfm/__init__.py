"""ddfm fuses registered images of one scene with a pretrained diffusion prior.

    import ddfm

    fusion = ddfm.fuse("infrared.png", "visible.png")
    fusion.save("fused.png")

`fuse` is a single call; a `Fuser` loads its prior once and fuses many pairs. `load_prior` makes a
prior from a name, a file, a model of another library, or a function. `fuse_folders` fuses matching
files of two or more folders, `fuse_volumes` 3-D volumes, and `fuse_sequence` films. `read_flir`
extracts both images from a radiometric file, and `fuse_flir` fuses a folder of such files. The
metrics are in `ddfm.metrics`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ddfm.version import __version__

if TYPE_CHECKING:  # "as" themselves, which marks them as public for type checkers
    from ddfm.config import FusionConfig as FusionConfig
    from ddfm.diffusion.samplers import Step as Step
    from ddfm.diffusion.watch import Snapshot as Snapshot
    from ddfm.errors import Cancelled as Cancelled
    from ddfm.errors import DdfmError as DdfmError
    from ddfm.errors import DdfmWarning as DdfmWarning
    from ddfm.errors import DownloadError as DownloadError
    from ddfm.errors import HostError as HostError
    from ddfm.errors import InputError as InputError
    from ddfm.errors import MissingExtra as MissingExtra
    from ddfm.errors import StorageError as StorageError
    from ddfm.fuser import Fuser as Fuser
    from ddfm.fuser import fuse as fuse
    from ddfm.imaging.picture import Picture as Picture
    from ddfm.imaging.reading import read_image as read_image
    from ddfm.imaging.thermal.flir import read_flir as read_flir
    from ddfm.imaging.writing import write_image as write_image
    from ddfm.likelihood import Likelihood as Likelihood
    from ddfm.pipeline.films import fuse_sequence as fuse_sequence
    from ddfm.pipeline.folders import fuse_flir as fuse_flir
    from ddfm.pipeline.folders import fuse_folders as fuse_folders
    from ddfm.pipeline.records import read_record as read_record
    from ddfm.pipeline.volumes import fuse_volumes as fuse_volumes
    from ddfm.priors import Prior as Prior
    from ddfm.priors import load_prior as load_prior
    from ddfm.restoration.observation import Observation as Observation
    from ddfm.result import Fusion as Fusion
    from ddfm.storage.ours import overwriting as overwriting

# The module of each name, which is imported on first use: torch alone takes seconds.
_ROOMS = {
    "Cancelled": "ddfm.errors",
    "DdfmError": "ddfm.errors",
    "DdfmWarning": "ddfm.errors",
    "DownloadError": "ddfm.errors",
    "Fuser": "ddfm.fuser",
    "Fusion": "ddfm.result",
    "FusionConfig": "ddfm.config",
    "HostError": "ddfm.errors",
    "InputError": "ddfm.errors",
    "Likelihood": "ddfm.likelihood",
    "MissingExtra": "ddfm.errors",
    "Observation": "ddfm.restoration.observation",
    "Picture": "ddfm.imaging.picture",
    "Prior": "ddfm.priors",
    "Snapshot": "ddfm.diffusion.watch",
    "Step": "ddfm.diffusion.samplers",
    "StorageError": "ddfm.errors",
    "fuse": "ddfm.fuser",
    "fuse_flir": "ddfm.pipeline.folders",
    "fuse_folders": "ddfm.pipeline.folders",
    "fuse_sequence": "ddfm.pipeline.films",
    "fuse_volumes": "ddfm.pipeline.volumes",
    "load_prior": "ddfm.priors",
    "overwriting": "ddfm.storage.ours",
    "read_flir": "ddfm.imaging.thermal.flir",
    "read_image": "ddfm.imaging.reading",
    "read_record": "ddfm.pipeline.records",
    "write_image": "ddfm.imaging.writing",
}

__all__ = ["__version__", *_ROOMS]


def __getattr__(name: str) -> Any:
    if name == "metrics":  # a subpackage; importing it makes it an attribute
        return import_module("ddfm.metrics")
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_ROOMS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "metrics"])
