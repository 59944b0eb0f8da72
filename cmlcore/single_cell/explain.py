"""Where a classifier looked: class activation maps, and the attention of transformers.

A map is float32 ``(side, side)`` in 0..1 over the field that the classifier took, its largest value 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from cmlcore.errors import InputError
from cmlcore.single_cell.classify import CellClassifier
from cmlcore.single_cell.colours import to_input


def explain(
    model: CellClassifier, field: NDArray[np.uint8], cls: str | None = None
) -> tuple[str, NDArray[np.float32]]:
    """The map that suits the network: Grad-CAM of a convolutional one, attention of a transformer.

    Args:
        model: a loaded classifier.
        field: uint8 ``(side, side, 3)``.
        cls: the class to explain; None takes the likeliest. Attention is the same for every class.

    Returns:
        The name of the method and the map.

    Raises:
        InputError: the classifier does not know the class.

    """
    if model.net.base.plain:
        return "attention", attention(model, field)
    return "Grad-CAM", grad_cam(model, field, cls)


@torch.inference_mode()
def grad_cam(model: CellClassifier, field: NDArray[np.uint8], cls: str | None = None) -> NDArray[np.float32]:
    """Grad-CAM (Selvaraju et al., ICCV 2017) of a convolutional backbone's last maps.

    The last layer stands on the maps' means, so the gradient of a class's logit with respect to a map is
    that class's weight over the number of places: Grad-CAM needs no backward pass.
    """
    images = to_input(field[None], model.colours, model.torch_device)
    maps = model.net.maps(images)[0].float()
    weights = model.net.head.weight[_class(model, maps.mean(dim=(1, 2)), cls)].float()
    return _over_field(torch.einsum("d,dhw->hw", weights, maps).relu(), field.shape[0])


@torch.inference_mode()
def attention(model: CellClassifier, field: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the class token attends to in the last block, the mean of all heads (Caron et al., ICCV 2021)."""
    vit: Any = model.net.body.net
    block = vit.blocks[-1]
    caught: list[Tensor] = []
    hook = block.attn.register_forward_pre_hook(lambda _m, inputs: caught.append(inputs[0]))
    try:
        model.net.features(to_input(field[None], model.colours, model.torch_device))
    finally:
        hook.remove()
    share = _class_token_attention(block.attn, caught[0])  # (heads, 1 + N)
    patches = share[:, vit.num_prefix_tokens :].mean(dim=0)
    return _over_field(patches.reshape(vit.patch_embed.grid_size), field.shape[0])


def _class_token_attention(attn: nn.Module, tokens: Tensor) -> Tensor:
    """Softmax of the class token's query against all keys, by head."""
    part: Any = attn
    b, n, _ = tokens.shape
    q, k, _ = part.qkv(tokens).reshape(b, n, 3, part.num_heads, -1).permute(2, 0, 3, 1, 4)
    q, k = part.q_norm(q), part.k_norm(k)
    scores = (q[:, :, :1] * part.scale) @ k.transpose(-2, -1)
    return scores.softmax(dim=-1)[0, :, 0]  # type: ignore[no-any-return]


def _class(model: CellClassifier, features: Tensor, cls: str | None) -> int:
    if cls is None:
        return int(model.net.head(features[None]).argmax())
    if cls not in model.card.classes:
        raise InputError(f"The classifier does not know “{cls}”; it knows {', '.join(model.card.classes)}.")
    return model.card.classes.index(cls)


def _over_field(small: Tensor, side: int) -> NDArray[np.float32]:
    large = F.interpolate(small[None, None], (side, side), mode="bilinear", align_corners=False)[0, 0]
    top = float(large.max())
    return np.asarray((large / top if top > 0 else large).cpu().numpy(), np.float32)
