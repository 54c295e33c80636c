"""Fuses two MRI images of one slice, T1-weighted and proton-density-weighted.

Also writes the two sources and the result side by side.
"""

from pathlib import Path

import numpy as np
from PIL import Image

import ddfm

data = Path(__file__).parent / "data"
sources = [data / "brain_t1.png", data / "brain_pd.png"]

fuser = ddfm.Fuser(task="medical")
fusion = fuser(*sources)
fusion.save("brain.png")

panels = [np.asarray(Image.open(path).convert("L")) for path in sources] + [fusion.image]
Image.fromarray(np.hstack(panels)).save("brain_side_by_side.png")
print("brain.png, brain_side_by_side.png")
