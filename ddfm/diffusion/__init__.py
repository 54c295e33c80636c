"""The sampling loop: samplers, the denoiser guided by a likelihood, and progress callbacks."""
