"""Reads, resamples and writes volumes. `ddfm.fuse_volumes` fuses them.

`volume` defines a volume in the patient's space, `files` (with `nifti`, `dicom`, `nrrd`,
`metaimage`) reads and writes them, `resample` brings one onto the grid of another, and `intensity`
converts a scanner's units to grey levels.
"""
