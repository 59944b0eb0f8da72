"""Models: the networks that are installed, what they know and where they end."""

from __future__ import annotations

from cmlcore.ui import model_cards, widgets
from models.registry import cards

widgets.header("Models", "Both types answer the same question in two ways; compare them on your own slides.")
model_cards.device_line()
known = cards()
if not known:
    with widgets.empty_state(
        "hub",
        "No model is installed",
        "Put a model card and its weights into the models folder, then reload this page.",
    ):
        pass
for card in known:
    model_cards.model_card(card)
