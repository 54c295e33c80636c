"""ddfm fuses registered images of one scene with a pretrained diffusion prior."""

__version__ = "0.1.0"
