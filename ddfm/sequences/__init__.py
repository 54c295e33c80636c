"""Films: folders of frames and videos, fused frame by frame without flicker.

from ddfm.sequences import fuse_sequence

fuse_sequence("infrared.mp4", "visible.mp4", "fused.mp4")
"""

from ddfm.sequences.files import check_film
from ddfm.sequences.fuse import fuse_frames, fuse_sequence
from ddfm.sequences.steady import Steady

__all__ = ["Steady", "check_film", "fuse_frames", "fuse_sequence"]
