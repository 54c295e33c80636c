"""Reads and writes videos, and denoises their frames over time."""
