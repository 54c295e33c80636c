"""Formats of image files that need more than Pillow's `open`."""
