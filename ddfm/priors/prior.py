r"""A prior is a denoiser with its noise schedule; the rest of ddfm knows no more about it.

    prior(x_t, t) = E[x_0 | x_t],    x_t = alpha_t x_0 + sigma_t eps

Networks predict one of three things, which `x0_from` converts to x_0:

    "eps"   eps                          x_0 = (x_t - sigma_t eps) / alpha_t
    "x0"    x_0                          x_0
    "v"     v = alpha_t eps - sigma_t x_0    x_0 = alpha_t x_t - sigma_t v
"""

from __future__ import annotations

import copy
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from ddfm.arguments import count, one_of
from ddfm.errors import InputError, unknown
from ddfm.numerics.planes import of_shape
from ddfm.priors.schedule import alpha_sigma

__all__ = ["KINDS", "FunctionPrior", "Prior", "x0_from"]

KINDS = ("eps", "x0", "v")


class Prior(ABC):
    """A denoiser of images (B, C, H, W) in [-1, 1].

    Attributes:
        channels: C, 1 for luminance or 3 for RGB.
        multiple: H and W of its input must be multiples of this.
        alphas_bar: abar_t, one per timestep, shape (T,), float64, always on the CPU.
        name: its name in results and messages.
        info: other facts about it (licence, source, configuration), ready for JSON.
        tile: the side of tiles for large images, by default; None for the usual one.
    """

    tile: int | None = None

    def __init__(
        self,
        alphas_bar: Tensor,
        *,
        channels: int = 1,
        multiple: int = 1,
        name: str = "",
        info: dict[str, Any] | None = None,
    ) -> None:
        alphas_bar = torch.as_tensor(alphas_bar, dtype=torch.float64, device="cpu")
        falling = alphas_bar.ndim == 1 and bool((alphas_bar.diff() <= 0).all())
        if not falling or not bool(((alphas_bar >= 0) & (alphas_bar < 1)).all()):
            raise InputError(
                "alphas_bar of a prior must be a decreasing vector with values from 0 to below 1"
            )
        if channels not in (1, 3):
            raise InputError(f"a prior has 1 channel (luminance) or 3 (RGB), not {channels}")
        self.alphas_bar = alphas_bar
        self.channels = channels
        self.multiple = count("multiple of a prior", multiple)
        self.name = name or type(self).__name__
        self.info = dict(info or {})

    def __repr__(self) -> str:
        kind = "RGB" if self.channels == 3 else "grey"
        return f"{type(self).__name__}({self.name!r}, {kind}, {len(self.alphas_bar)} timesteps)"

    @abstractmethod
    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """E[x_0 | x_t]; t (B,) holds one int64 timestep (0 .. T-1) per image.

        The result has the dtype and device of x_t, and is not clipped. x_t must stay as it is.
        """

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Prior:
        """Move the prior to a device, make it compute in a dtype, and return it."""
        return self

    def at(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Prior:
        """Like `to`, but on a copy, so that this prior is unchanged.

        If `to` would change nothing, the prior itself is returned, to save memory.
        """
        return self if self._is_at(device, dtype) else self._copy().to(device, dtype)

    def _is_at(self, device: torch.device | str | None, dtype: torch.dtype | None) -> bool:
        """Whether `to` would change nothing; False if a subclass cannot know."""
        return type(self).to is Prior.to

    def _copy(self) -> Prior:
        return copy.deepcopy(self)

    @property
    def fingerprint(self) -> str | None:
        """The sha256 of the weights, so that new weights under an old name are noticed.

        That of their file if they are from one, otherwise of the numbers; None if unknown.
        """
        return self.info.get("sha256")

    def features(self, x_t: Tensor, t: Tensor, finest: int = 1) -> list[Tensor]:
        """Inner activations of the network, finest scale first, for methods that build on them.

        Scales finer than 1 / `finest` of the image are left out.
        """
        raise InputError(f"the prior {self.name} has no inner features; use a U-Net prior")

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `model.safetensors` into a folder that `load_prior` reads, also from a hub."""
        raise InputError(f"the prior {self.name} has no weights in a form that ddfm can write")


def x0_from(
    prediction: Tensor, kind: str, x_t: Tensor, alpha: Tensor | float, sigma: Tensor | float
) -> Tensor:
    """x_0 from the prediction of a network of this kind at x_t = alpha x_0 + sigma eps."""
    if kind == "x0":
        return prediction
    if kind == "eps":
        return (x_t - sigma * prediction) / alpha
    if kind == "v":
        return alpha * x_t - sigma * prediction
    raise unknown("prediction kind", kind, KINDS)


class FunctionPrior(Prior):
    """A prior from a callable eps(x_t, t), x0(x_t, t) or v(x_t, t), such as a network.

    If the callable returns twice the channels (a network that also learned its variance), the
    first half, the mean, is used.
    """

    def __init__(
        self,
        function: Callable[[Tensor, Tensor], Tensor],
        alphas_bar: Tensor,
        *,
        kind: str = "eps",
        channels: int = 3,
        multiple: int = 1,
        name: str = "",
        info: dict[str, Any] | None = None,
    ) -> None:
        one_of("prediction kind", kind, KINDS)
        super().__init__(
            alphas_bar, channels=channels, multiple=multiple, name=name or "function", info=info
        )
        self.function = function
        self.kind = kind
        self.dtype: torch.dtype | None = None

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        with _at_rest(self.function):
            # Copies: both are needed below, and the function may write into what it is given.
            x = x_t.to(self.dtype or x_t.dtype, copy=True)
            prediction = self.function(x, t.clone())
        if isinstance(prediction, Tensor) and prediction.shape[1:2] == (2 * self.channels,):
            prediction = prediction[:, : self.channels]
        prediction = of_shape(prediction, x_t.shape, f"the prior {self.name}")
        alpha, sigma = alpha_sigma(self.alphas_bar, t, x_t)
        return x0_from(prediction.to(x_t.dtype), self.kind, x_t, alpha, sigma)

    @property
    def fingerprint(self) -> str | None:
        if "sha256" in self.info or not isinstance(self.function, nn.Module):
            return super().fingerprint
        return _sha256_of_weights(self.function)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> FunctionPrior:
        if isinstance(self.function, nn.Module):
            self.function.to(device=device, dtype=dtype)
        self.dtype = dtype or self.dtype
        return self

    def _is_at(self, device: torch.device | str | None, dtype: torch.dtype | None) -> bool:
        if dtype not in (None, self.dtype):
            return False
        if not isinstance(self.function, nn.Module):
            return True
        where = None if device is None else torch.empty(0, device=device).device  # with its index
        state = [*self.function.parameters(), *self.function.buffers()]
        return all(
            (where is None or x.device == where)
            and (dtype is None or x.dtype == dtype or not x.is_floating_point())
            for x in state
        )

    def _copy(self) -> FunctionPrior:
        """A copy with its own weights; a callable that is not a module is shared."""
        shared = {} if isinstance(self.function, nn.Module) else {id(self.function): self.function}
        return copy.deepcopy(self, shared)


# By network: its modules that its owner left in training, and how many calls are under way.
_resting: dict[int, tuple[list[nn.Module], int]] = {}
_LOCK = Lock()


@contextmanager
def _at_rest(function: Callable[..., Any]) -> Iterator[None]:
    """Within this context, dropout of a network is off; afterwards it is as its owner left it.

    Threads may be in it together; the last one to leave turns dropout on again.
    """
    if not isinstance(function, nn.Module):
        yield
        return
    key = id(function)
    with _LOCK:
        training, calls = _resting.get(key, ([m for m in function.modules() if m.training], 0))
        _resting[key] = training, calls + 1
        for module in training:
            module.training = False
    try:
        yield
    finally:
        with _LOCK:
            training, calls = _resting.pop(key)
            if calls > 1:
                _resting[key] = training, calls - 1
            for module in training if calls == 1 else ():
                module.training = True


def _sha256_of_weights(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, weight in network.state_dict().items():
        digest.update(name.encode())
        if isinstance(weight, Tensor):  # state dicts may hold other objects, too
            digest.update(weight.detach().cpu().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
