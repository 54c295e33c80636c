"""Whole volumes: read, brought onto one grid, fused slice by slice, written.

    from ddfm.volumes import fuse_volumes

    fusion = fuse_volumes("mri.nii.gz", "ct/", window_b="bone")
    fusion.save("fused.nii.gz")

`volume` is the patient's space, `files` (with `nifti`, `dicom`, `nrrd`) the way in and out,
`resample` brings one volume onto the grid of another, `intensity` knows windows and colour maps.
"""

from ddfm.volumes.files import read_volume, write_volume
from ddfm.volumes.fuse import VolumeFusion, fuse_volumes
from ddfm.volumes.intensity import COLORMAPS, WINDOWS
from ddfm.volumes.montage import montage
from ddfm.volumes.resample import resampled
from ddfm.volumes.volume import PLANES, Volume

__all__ = [
    "COLORMAPS",
    "PLANES",
    "WINDOWS",
    "Volume",
    "VolumeFusion",
    "fuse_volumes",
    "montage",
    "read_volume",
    "resampled",
    "write_volume",
]
