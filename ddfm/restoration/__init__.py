"""Restoration of sources: noise, blur, compression and low resolution are estimated and undone.

A source is an observation y = A x + n of the scene x. `observation` holds what the caller knows of
A and n. `restore` is the entry point: it turns degraded sources into clean ones.
"""
