"""The steps of a fusion: `ready` prepares the sources, `run` fuses, `results` makes pictures."""
