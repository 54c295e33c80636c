"""Priors: denoisers with a noise schedule, and where they come from."""
