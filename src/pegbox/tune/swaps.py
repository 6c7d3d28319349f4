"""Word swaps under the guidance of the gradient: which other token, where, should lower the loss?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.prompt import Prompt

State = Mapping[str, tuple[int, ...]]
"""What stands in each slot: token ids."""


def usable(backbone: Backbone) -> NDArray[np.bool_]:
    """The vocabulary's ordinary tokens that can be seen: nothing special, no line ends, no bare spaces. Shape: [V]."""
    ordinary = backbone.vocabulary()[1]
    found = ordinary.copy()
    for token in np.flatnonzero(ordinary):
        text = backbone.decode([int(token)])
        found[token] = text.isprintable() and bool(text.strip())
    return found


def predicted_gains(gradient: torch.Tensor, ids: Sequence[int], table: torch.Tensor) -> torch.Tensor:
    """By how much the loss should fall, to first order, with each token in each place.

    Shape: gradient [P, H], with respect to the embeddings in place; ids P; table [V, H]; result [P, V].
    Source: Ebrahimi et al. 2018, "HotFlip" (arXiv 1712.06751), equation 10; the size of the step is that of the swap itself.
    """
    gradient = gradient.to(table.dtype)
    here = (gradient * table[list(ids)]).sum(dim=1, keepdim=True)
    return here - gradient @ table.T


def written(backbone: Backbone, ids: Sequence[int], spaced: bool) -> str | None:
    """The words of token ids, as they are to be filled into a slot; None where these would not be encoded as the same ids.

    Settings:
        spaced: the slot follows a space, which belongs to the first word's token.
    """
    text = backbone.decode(ids)
    words = text.removeprefix(" ") if spaced else text
    again = backbone.encode((" " if spaced else "") + words)
    return words if again == tuple(ids) else None


def filled(prompt: Prompt, state: State, backbone: Backbone) -> Prompt | None:
    """The prompt with words in its slots; None where some do not survive being written."""
    words = {name: written(backbone, ids, prompt.spaced(name)) for name, ids in state.items()}
    if any(text is None for text in words.values()):
        return None
    return prompt.fill(**words)


def proposals(
    prompt: Prompt,
    state: State,
    gains: Mapping[str, torch.Tensor],
    allowed: NDArray[np.bool_],
    backbone: Backbone,
    count: int,
    top: int,
    rng: np.random.Generator,
) -> list[State]:
    """Up to `count` states that differ from this one by a single token and survive being written.

    Half of them are the most promising swaps, at most two in each place; the others are drawn among the `top` of any place,
    since the estimate is rough.

    Settings:
        gains: predicted gains for each slot. Shape: [P, V].
        allowed: tokens that may be used. Shape: [V].
    Source: Zou et al. 2023, "GCG" (arXiv 2307.15043), algorithm 1, draws all of them.
    """
    places = [(name, at) for name, ids in state.items() for at in range(len(ids))]
    barred = torch.from_numpy(~allowed)
    best: dict[tuple[str, int], list[int]] = {}
    ranked: list[tuple[float, str, int, int]] = []
    for name, at in places:
        row = gains[name][at].masked_fill(barred.to(gains[name].device), -torch.inf)
        row[state[name][at]] = -torch.inf
        values, tokens = row.topk(min(top, int(allowed.sum())))
        best[name, at] = [int(token) for token in tokens]
        ranked += [(float(value), name, at, int(token)) for value, token in zip(values[:2], tokens[:2], strict=True)]
    ranked.sort(reverse=True)
    swaps = [(name, at, token) for _, name, at, token in ranked]
    drawn = []
    for _ in range(4 * count):
        name, at = places[int(rng.integers(len(places)))]
        drawn.append((name, at, best[name, at][int(rng.integers(len(best[name, at])))]))
    found: list[State] = []
    for number, source in ((count // 2, swaps), (count, drawn), (count, swaps)):
        for name, at, token in source:
            if len(found) >= number:
                break
            new = {**state, name: (*state[name][:at], token, *state[name][at + 1 :])}
            if new != state and new not in found and filled(prompt, new, backbone) is not None:
                found.append(new)
    return found
