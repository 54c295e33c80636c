"""Any denoiser can be a prior. Here one of a few lines replaces the network.

`denoiser(x_t, t)` is given x_t = alpha_t x_0 + sigma_t noise, a batch (B, C, H, W), and returns its
estimate of x_0. This one smooths: the noisier x_t is, the more.
"""

from pathlib import Path

import torch
from scipy.ndimage import gaussian_filter

import ddfm
from ddfm.priors.schedule import alphas_bar

abar = alphas_bar("linear")  # 1000 timesteps, as in DDPM


def denoiser(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    estimates = []
    for image, level in zip(x_t, t, strict=True):
        alpha, sigma = abar[level].sqrt(), (1 - abar[level]).sqrt()
        width = min(10.0, 2 * float(sigma / alpha))
        smooth = gaussian_filter((image / alpha).numpy(), sigma=(0, width, width))
        estimates.append(torch.from_numpy(smooth))
    return torch.stack(estimates)


prior = ddfm.load_prior(denoiser, kind="x0", channels=1, schedule="linear", T=1000)
data = Path(__file__).parent / "data"
sources = data / "brain_t1.png", data / "brain_pd.png"
fusion = ddfm.fuse(*sources, prior=prior, likelihood="paper", steps=25)
fusion.save("brain_custom.png")
print("brain_custom.png made by the prior", fusion.settings["prior"])
