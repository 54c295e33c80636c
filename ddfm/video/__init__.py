"""Videos read, written, and denoised over time."""
