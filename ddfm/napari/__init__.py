"""Fusion of two layers in napari: what `napari.json` tells it of, and nothing that needs it."""
