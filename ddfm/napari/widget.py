"""The widget "Fuse two images": napari makes it of this function, a field for each argument.

(Annotations are values here, which napari reads; its own are text, so that it is not imported.)
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from ddfm.errors import InputError

if TYPE_CHECKING:
    import napari

__all__ = ["fuse_layers"]


def fuse_layers(
    infrared: "napari.layers.Image",
    visible: "napari.layers.Image",
    task: Literal["auto", "ir-visible", "medical", "multi-exposure", "multi-focus"] = "auto",
    method: Literal["ddfm", "dmfuse"] = "ddfm",
    balance: Annotated[float, {"widget_type": "FloatSlider", "min": -1, "max": 1}] = 0.0,
    color: Literal["auto", "a", "b", "grey"] = "auto",
) -> "napari.types.LayerDataTuple":
    """A new layer: both images in one.

    Args:
        infrared: thermal; or PET, SPECT, CT; or one of two exposures, or distances of focus.
        visible: or MRI; or the other one.
        balance: from -1, more of the first, to 1, more of the second.
        color: whose colours are kept.
    """
    from ddfm.fuser import Fuser

    pair = [_picture(layer) for layer in (infrared, visible)]
    fusion = Fuser(method=method, task=task, balance=balance, color=color)(*pair)
    image = fusion.image
    # On the image that has its size; where both have, on the visible one.
    like = next(
        (layer for layer in (visible, infrared) if layer.data.shape[:2] == image.shape[:2]), visible
    )
    about = {"name": f"{infrared.name} + {visible.name}", "rgb": image.ndim == 3}
    about |= {name: getattr(like, name) for name in ("scale", "translate")}
    about["metadata"] = {"ddfm": fusion.settings}
    return image, about, "image"


def _picture(layer: Any) -> Any:
    """The pixels of a layer that is one picture."""
    if getattr(layer, "multiscale", False):
        raise InputError(f"{layer.name} is a pyramid; fuse one level of it")
    if layer.data.ndim != (3 if layer.rgb else 2):
        raise InputError(
            f"{layer.name} has {layer.data.ndim} axes: stacks are fused by `ddfm volume` and "
            "`ddfm film`; here, single pictures are"
        )
    return layer.data[..., :3] if layer.rgb else layer.data
