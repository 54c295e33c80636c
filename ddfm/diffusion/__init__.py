"""The sampling loop: samplers, the denoiser guided by a likelihood, and progress callbacks."""

SAMPLERS = ("ddim", "ddpm", "dpm-solver")  # here, so that their names are known without torch
