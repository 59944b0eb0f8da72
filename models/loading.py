"""Weights from a file into the network that a card describes; the same for every type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from cmlcore.errors import ModelError
from models.registry import ModelCard

Net = TypeVar("Net", bound=nn.Module)


def with_weights(card: ModelCard, build: Callable[[dict[str, Any]], Net]) -> Net:
    """Build a network and load its weights (fp16 in the file, float32 in use).

    Args:
        card: names the file and, under ``architecture``, the network's shape.
        build: makes the network, with random weights, from ``architecture``.

    Raises:
        ModelError: the file cannot be read, or it does not fit the card.

    """
    try:
        net = build(card.extra["architecture"])
        state = {k: v.float() if v.is_floating_point() else v for k, v in load_file(card.weights).items()}
        net.load_state_dict(state)
    except (OSError, SafetensorError) as e:
        raise ModelError(
            f"The weights of “{card.key}” cannot be read as a safetensors file; fetch it again."
        ) from e
    except (KeyError, TypeError, RuntimeError) as e:
        raise ModelError(
            f"The weights of “{card.key}” do not fit the network its card describes; "
            "use the card they came with."
        ) from e
    return net
