"""Reads, resamples and writes volumes. `ddfm.fuse_volumes` fuses them.

`volume` defines a volume in the patient's space, `files` (with `nifti`, `dicom`, `nrrd`,
`metaimage`) reads and writes them, `resample` brings one onto the grid of another, and `intensity`
converts a scanner's units to grey levels.
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
