"""Fuses an MRI and a CT of one head, which are on different grids, into one volume.

The head is synthetic: ellipsoids in the patient's space (millimetres to the right, to the front and
towards the head), imaged by two scanners. The CT is coarser, and rotated relative to the MRI, as
its affine records. Needs nibabel: pip install 'ddfm[medical]'.
"""

import nibabel
import numpy as np

import ddfm

#              radii in mm    centre        MRI   CT (Hounsfield units)
TISSUES = [
    ("skin", (62, 78, 70), (0, 0, 0), 550, 20),
    ("skull", (58, 74, 66), (0, 0, 0), 40, 1100),
    ("brain", (52, 68, 60), (0, 0, 0), 400, 35),
    ("ventricle", (7, 22, 12), (-9, 4, 4), 130, 5),
    ("ventricle", (7, 22, 12), (9, 4, 4), 130, 5),
    ("lesion in the MRI", (9, 9, 9), (-30, 30, 6), 700, 35),
    ("calcified, in the CT", (6, 6, 6), (28, -32, 2), 380, 400),
]


def scanned(affine: np.ndarray, shape: tuple[int, int, int], air: float, which: int) -> np.ndarray:
    """The values in column `which` of the table, at the voxels of a grid, with noise."""
    i = np.indices(shape).reshape(3, -1)
    place = affine[:3, :3] @ i + affine[:3, 3:]
    values = np.full(place.shape[1], air)
    for tissue in TISSUES:
        radii, centre = (np.array(column)[:, None] for column in tissue[1:3])
        values[(((place - centre) / radii) ** 2).sum(0) <= 1] = tissue[which]
    noise = np.random.default_rng(which).normal(0, 10, values.shape)
    return (values + noise).reshape(shape).astype(np.int16)


def affine_of(spacing: tuple[float, ...], shape: tuple[int, ...], degrees: float) -> np.ndarray:
    """A grid rotated about the axis from feet to head, with its middle voxel at the origin."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


scans = {
    "mri.nii.gz": ((2.5, 2.5, 10.0), (56, 68, 15), 0.0, 0, 3),
    "ct.nii.gz": ((3.0, 3.0, 6.0), (52, 60, 26), 8.0, -1000, 4),
}
for name, (spacing, shape, degrees, air, which) in scans.items():
    affine = affine_of(spacing, shape, degrees)
    nibabel.save(nibabel.Nifti1Image(scanned(affine, shape, air, which), affine), name)

fusion = ddfm.fuse_volumes("mri.nii.gz", "ct.nii.gz", window_b="bone")
fusion.save("fused.nii.gz")  # on the grid of the MRI, with its affine
fusion.montage("volumes.png", count=5)  # MRI above, CT on its grid, both fused below
print("fused.nii.gz:", fusion.values.shape, fusion.values.dtype, "to look at: volumes.png")
