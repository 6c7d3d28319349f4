"""Zero-shot: the written prompt as it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import HardSlot, Prompt
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail


@dataclass(frozen=True)
class ZeroShot:
    """The prompt as it was written, without learning anything; it spends nothing.

    Raises: PromptError when a slot is still open.
    """

    def tune(
        self,
        prompt: Prompt,
        task: Classification,  # noqa: ARG002  # the protocol's arguments, of which this method needs one
        backbone: Backbone,  # noqa: ARG002
        train: Rows,  # noqa: ARG002
        dev: Rows,  # noqa: ARG002
        *,
        budget: Budget,  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
        trail: Trail,
    ) -> Prompt:
        """See `pegbox.tune.tuner.Tuner.tune`."""
        slots = prompt.slots.values()
        if open_slots := [slot.name for slot in slots if (slot.words if isinstance(slot, HardSlot) else slot.vectors) is None]:
            raise PromptError(
                f"the open slot {open_slots[0]!r} in a prompt for zero-shot",
                "a prompt of words alone, or one whose slots are filled",
                "leave the slot out, or fill it",
            )
        trail.write("best", prompt_digest=prompt.digest())
        return prompt
