"""The sampling loop: samplers, a denoiser guided by a likelihood, and what watches them."""
