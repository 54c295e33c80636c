"""Fuses short-wave infrared, which shows the land, with a visible image, whose colour is kept."""

from pathlib import Path

import ddfm

data = Path(__file__).parent / "data"
fusion = ddfm.fuse(data / "olinda_infrared.png", data / "olinda_visible.png")
fusion.save("olinda.png")
print("olinda.png:", fusion.image.shape, fusion.image.dtype)
