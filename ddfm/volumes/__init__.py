"""Whole volumes: read, brought onto one grid, written. `ddfm.fuse_volumes` fuses them.

`volume` is the patient's space, `files` (with `nifti`, `dicom`, `nrrd`) the way in and out,
`resample` brings one volume onto the grid of another, `intensity` knows windows and colour maps.
"""

from ddfm.imaging.colormaps import COLORMAPS
from ddfm.volumes.files import read_volume, write_volume
from ddfm.volumes.intensity import WINDOWS
from ddfm.volumes.montage import montage
from ddfm.volumes.resample import resampled
from ddfm.volumes.volume import PLANES, Volume

__all__ = [
    "COLORMAPS",
    "PLANES",
    "WINDOWS",
    "Volume",
    "montage",
    "read_volume",
    "resampled",
    "write_volume",
]
