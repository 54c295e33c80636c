"""Fuses a folder of pairs. A second run skips what is done; a manifest records how it was made."""

import json
from pathlib import Path

from PIL import Image

import ddfm

# Two folders as cameras write them: what the file names of a pair share is the name of the pair.
data = Path(__file__).parent / "data"
for kind, folder in (("infrared", Path("pairs/infrared")), ("visible", Path("pairs/visible"))):
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.open(data / f"olinda_{kind}.png")
    for number in range(3):
        part = image.crop((100 * number, 80, 100 * number + 128, 80 + 112))
        part.save(folder / f"scene{number}_{kind}.png")

fuser = ddfm.Fuser()
for run in ("first", "second"):
    summary = ddfm.fuse_folders("pairs/infrared", "pairs/visible", "pairs/fused", fuser)
    print(f"{run} run: {summary}")

for line in Path("pairs/fused/ddfm-manifest.jsonl").read_text().splitlines():
    entry = json.loads(line)
    settings = entry["settings"]
    print(entry["output"], "of", " and ".join(source["name"] for source in entry["sources"]))
    print("   ", *(f"{key}={settings[key]}" for key in ("prior", "likelihood", "steps", "seed")))
