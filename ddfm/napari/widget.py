"""The widget "Fuse two images": napari generates it from this function, a field per argument.

Annotations are evaluated in this file, as napari reads them; those of napari's own types are text,
so that napari is not imported.
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
    """Fuse two images into a new layer.

    Args:
        infrared: infrared; or PET, SPECT or CT; or one of two exposures or of two focus distances.
        visible: visible; or MRI; or the other exposure or focus distance.
        task: what the images are; "auto" detects it.
        method: "ddfm", or "dmfuse", one pass of a network trained for infrared and visible.
        balance: from -1, more of the first image, to 1, more of the second.
        color: whose colours are kept: those of all images in colour ("auto"), of the first ("a"),
            of the second ("b"), or none ("grey").
    """
    from ddfm.fuser import Fuser

    pair = [_picture(layer) for layer in (infrared, visible)]
    fusion = Fuser(method=method, task=task, balance=balance, color=color)(*pair)
    image = fusion.image
    # Place it on the image of the same size; if both have it, on the visible one.
    like = next(
        (layer for layer in (visible, infrared) if layer.data.shape[:2] == image.shape[:2]), visible
    )
    about = {"name": f"{infrared.name} + {visible.name}", "rgb": image.ndim == 3}
    about |= {name: getattr(like, name) for name in ("scale", "translate")}
    about["metadata"] = {"ddfm": fusion.settings}
    return image, about, "image"


def _picture(layer: Any) -> Any:
    """The pixels of a layer that is a single image."""
    if getattr(layer, "multiscale", False):
        raise InputError(f"{layer.name} is a multiscale pyramid; fuse one of its levels")
    if layer.data.ndim != (3 if layer.rgb else 2):
        raise InputError(
            f"{layer.name} has {layer.data.ndim} axes, and only single images can be fused here; "
            "use `ddfm volume` or `ddfm film` for stacks"
        )
    return layer.data[..., :3] if layer.rgb else layer.data
