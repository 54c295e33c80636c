"""A napari plugin that fuses two layers; `napari.json` declares it. It does not import napari."""
