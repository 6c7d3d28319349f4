"""The one primitive: extend rows of kept keys/values by rows of new embeddings, in one batch.

Rows differ in the length of what is kept (padded on the left) and of what is new (padded on the right), so that each row's real
positions stand side by side: sliding windows measure true distances, and no query is without a key. Positions are given
explicitly. Padding is masked, so a row never feels its batch-mates.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the field's name for it
from torch.autograd.function import Function, once_differentiable
from transformers import DynamicCache

from pegbox.backbone import attention, fused
from pegbox.backbone.core import Core
from pegbox.backbone.deep import Kept
from pegbox.backbone.seam import Spent
from pegbox.backbone.storage import Block, KeysValues

CHECKPOINTED = 2048
"""Positions in a pass from which on the layers' inner numbers are not held for the way back, but worked out again there."""

_PIECE = 1 << 24
"""Bytes of kept keys or values that are laid side by side at once."""

Head = tuple[KeysValues, ...]
"""What a row's new positions look back on: runs of keys and values, one after the other."""


class Engine(Core):
    """A Transformers causal model, run by extension.

    Settings:
        model: the model with its output head.
        spent: where tokens are counted.
    """

    without_cache: Mapping[str, bool] = {"use_cache": False}

    def __init__(self, model: Any, spent: Spent) -> None:
        attention.use(model)
        fused.use(model)
        super().__init__(model, spent)
        self._query_heads: int = int(model.config.get_text_config().num_attention_heads)
        self._check_logits()

    @functools.cached_property
    def kept(self) -> Kept:
        """See `pegbox.backbone.core.Core.kept`: seen on one token, which counts as nothing spent."""
        before = replace(self.spent)
        with torch.no_grad():
            embeds = self.model.get_input_embeddings()(torch.tensor([[1]], device=self.device))
            found = Kept.of(self.extend([()], embeds, [1])[0])
        self.spent.forward, self.spent.backward = before.forward, before.backward
        return found

    def hidden(
        self, heads: Sequence[Head], embeds: torch.Tensor, lengths: Sequence[int], skipped: Sequence[int] = ()
    ) -> torch.Tensor:
        """Last hidden states of the new positions.

        Settings:
            skipped: positions at the beginning of each row whose states are not looked at, and may be anything.

        Shape: heads N; embeds [N, T, H]; lengths N; result [N, T, H], in the model's dtype.
        """
        with attention.reading(self._places(embeds, lengths, skipped)):
            return self._run(heads, embeds, lengths, keep=False)[0]

    def _places(self, embeds: torch.Tensor, lengths: Sequence[int], skipped: Sequence[int]) -> torch.Tensor | None:
        """The numbers of the places that are looked at, counted through the rows; None: all of them."""
        if not any(skipped):
            return None
        rows = enumerate(zip(skipped, lengths, strict=True))
        places = [row * embeds.shape[1] + at for row, (first, end) in rows for at in range(first, end)]
        return torch.tensor(places, device=self.device)

    def extend(self, heads: Sequence[Head], embeds: torch.Tensor, lengths: Sequence[int]) -> Block:
        """Keys and values of the new positions, row by row and without padding."""
        return self.read_on(heads, embeds, lengths, range(len(lengths)))[1]

    def read_on(
        self, heads: Sequence[Head], embeds: torch.Tensor, lengths: Sequence[int], kept: Sequence[int]
    ) -> tuple[torch.Tensor, Block]:
        """Last hidden states of the new positions as `hidden` gives them, and keys and values of those rows that are kept."""
        hidden, cache = self._run(heads, embeds, lengths, keep=bool(kept))
        if not kept:
            return hidden, ()
        past = max((_length(head) for head in heads), default=0)
        keys = torch.stack([layer.keys[:, :, past:] for layer in cache.layers])
        values = torch.stack([layer.values[:, :, past:] for layer in cache.layers])
        return hidden, tuple(
            KeysValues(own_copy(keys[:, row, :, : lengths[row]]), own_copy(values[:, row, :, : lengths[row]])) for row in kept
        )

    def go_on(self, cache: DynamicCache, embeds: torch.Tensor, seen: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Last hidden states of one more position of rows whose keys and values lie in a cache, which grows by it.

        Shape: embeds [N, 1, H]; seen [N, past + 1], which positions are real; positions [N, 1]; result [N, 1, H].
        """
        mask = None if bool(seen.all()) else seen.long()
        return self._through([], embeds, mask, positions, cache, seen.shape[1] - 1, len(embeds))[0]

    def branches(self, heads: Sequence[Head], embeds: torch.Tensor, stem: int, lengths: Sequence[int]) -> torch.Tensor:
        """Last hidden states of K sequences: a stem, then branches that look back on it but not on each other.

        The weights are read once for all of them, and nothing is padded. See `packs`.

        Settings:
            heads: what each stem looks back on, equally long.
            stem: positions of the stem.
            lengths: positions of each branch.

        Shape: embeds [K, T, H], T = stem + all the branches; result [K, T, H], in the model's dtype.
        """
        past, (count, width) = _length(heads[0]), embeds.shape[:2]
        branch = torch.tensor([-1] * stem + [n for n, length in enumerate(lengths) for _ in range(length)], device=self.device)
        places = torch.tensor([*range(stem), *(stem + at for length in lengths for at in range(length))], device=self.device)
        seen = ((branch == -1) | (branch == branch[:, None])) & torch.ones_like(branch.outer(branch), dtype=torch.bool).tril()
        mask = torch.cat([seen.new_ones(width, past), seen], dim=1)[None, None]
        cache = DynamicCache(side_by_side(heads, past)) if past else None
        positions = (past + places).expand(count, -1)
        return self._through(heads, embeds, mask.expand(count, -1, -1, -1), positions, cache, past, count * width)[0]

    def trees(
        self, heads: Sequence[Head], embeds: torch.Tensor, places: torch.Tensor, seen: torch.Tensor, count: int
    ) -> torch.Tensor:
        """Last hidden states of sequences in which each position looks back on some of those before it. See `packs`.

        Settings:
            places: how far from its sequence's beginning each position stands.
            seen: which of the sequence's positions each one sees.
            count: positions that are real.

        Shape: heads N; embeds [N, T, H]; places [N, T]; seen [N, T, T]; result [N, T, H], in the model's dtype.
        """
        past = [_length(head) for head in heads]
        before = max(past)
        starts = torch.tensor(past, device=self.device)[:, None]
        kept = torch.arange(before, device=self.device)[None] >= before - starts
        mask = torch.cat([kept[:, None].expand(-1, embeds.shape[1], -1), seen.to(self.device)], dim=2)[:, None]
        cache = DynamicCache(side_by_side(heads, before)) if before else None
        return self._through(heads, embeds, mask, starts + places.to(self.device), cache, before, count)[0]

    def past_infix(
        self,
        heads: Sequence[Head],
        infix: KeysValues,
        embeds: torch.Tensor,
        lengths: Sequence[int],
        before: Sequence[int],
        skipped: Sequence[int] = (),
    ) -> torch.Tensor:
        """Last hidden states of rows whose later positions look back on one run more than those before it. See `packs`.

        Settings:
            infix: that run, which takes up as many places.
            before: how many of each row's positions stand before it.
            skipped: as for `hidden`.

        Shape: heads N; embeds [N, T, H]; lengths N; result [N, T, H], in the model's dtype.
        """
        past, width = [_length(head) for head in heads], embeds.shape[1]
        most, device = max(past), self.device
        starts, sizes, firsts = (torch.tensor(some, device=device)[:, None] for some in (past, lengths, before))
        steps = torch.arange(width, device=device)[None]
        later = steps >= firsts
        kept = torch.arange(most, device=device)[None] >= most - starts
        own = torch.ones(width, width, dtype=torch.bool, device=device).tril() & (steps < sizes)[:, None]
        old = [kept[:, None].expand(-1, width, -1), later[:, :, None].expand(-1, -1, infix.length)]
        places = starts + torch.minimum(steps, sizes - 1) + infix.length * later
        both, whole = [(*head, infix) for head in heads], most + infix.length
        cache = DynamicCache(side_by_side(both, whole))
        with attention.reading(self._places(embeds, lengths, skipped)):
            return self._through(both, embeds, torch.cat([*old, own], dim=2)[:, None], places, cache, whole, sum(lengths))[0]

    def fan(
        self, heads: Sequence[Head], embeds: torch.Tensor, lengths: Sequence[int], branches: int, skipped: Sequence[int] = ()
    ) -> torch.Tensor:
        """Last hidden states of several branches to each head, which is held once for all of them. See `fans`.

        Settings:
            lengths: of the branches that are real, each head's one after the other.
            branches: to each head.
            skipped: as for `hidden`.

        Shape: heads N; embeds [N * branches, T, H]; lengths N * branches; result [N * branches, T, H], in the model's dtype.
        """
        past, width = [_length(head) for head in heads], embeds.shape[1]
        before = max(past)
        starts = torch.tensor(past, device=self.device)[:, None]
        seen = None
        if min(past) < before:
            seen = torch.arange(before, device=self.device)[None] >= before - starts
        positions = starts + torch.arange(width, device=self.device).repeat(branches)[None]
        cache = DynamicCache(side_by_side(heads, before))
        together = embeds.reshape(len(heads), branches * width, -1)
        with attention.fanned(attention.Fan(before, branches, seen)), attention.reading(self._places(embeds, lengths, skipped)):
            found = self._through(heads, together, None, positions, cache, before, sum(lengths))[0]
        return found.view(len(embeds), width, -1)

    def fans(self, heads: Sequence[Head], width: int, branches: int) -> bool:
        """Whether `fan` may run these: the model allows it, and the scores are not too many to be held at once."""
        before = max(map(_length, heads))
        if before == 0 or not attention.fits(len(heads) * branches * width * (before + width) * self._query_heads):
            return False
        return self._fans

    @functools.cached_property
    def _fans(self) -> bool:
        """Whether `fan` gives what each branch alone would: proved on a few tokens, as `packs` is."""
        config = self.model.config.get_text_config()
        if config._attn_implementation != attention.NAME or not self.full_attention:
            return False

        def both_ways(embeds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            heads = [(run,) for run in self.extend([()], embeds[:, :2], [2])]
            tails = torch.cat([embeds[:, 2:4], embeds[:, 3:5]])
            return self.fan(heads, tails, [2, 2], 2), self.hidden(heads * 2, tails, [2, 2])

        return self._proved(both_ways)

    @property
    def full_attention(self) -> bool:
        """Whether no layer has a window. Windows are measured by place in the sequence, which branches share."""
        config = self.model.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ("full_attention",))
        return not getattr(config, "sliding_window", None) and kinds == {"full_attention"}

    @functools.cached_property
    def packs(self) -> bool:
        """Whether `branches` gives what each branch alone would: proved on a few tokens, as not every model heeds positions."""
        config = self.model.config.get_text_config()
        if config._attn_implementation not in (attention.NAME, "sdpa") or not self.full_attention:
            return False

        def both_ways(embeds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            alone = self.hidden([()], embeds[:, [0, 1, 3, 4]], [4])
            return self.branches([()], embeds, 2, [1, 2])[0, 3:], alone[0, 2:]

        return self._proved(both_ways)

    @torch.no_grad()
    def _proved(self, both_ways: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]) -> bool:
        """Whether two ways of running five tokens' embeddings [1, 5, H] give the same; that counts as nothing spent."""
        before = replace(self.spent)
        embeds = self.model.get_input_embeddings()(torch.tensor([[1, 2, 3, 4, 5]], device=self.device))
        found, wanted = (part.float() for part in both_ways(embeds))
        self.spent.forward, self.spent.backward = before.forward, before.backward
        return torch.allclose(found, wanted, rtol=3e-2, atol=3e-2 * float(wanted.abs().max()))

    def _run(self, heads: Sequence[Head], embeds: torch.Tensor, lengths: Sequence[int], keep: bool) -> tuple[torch.Tensor, Any]:
        past = [_length(head) for head in heads]
        before, width = max(past), embeds.shape[1]
        cache = DynamicCache(side_by_side(heads, before)) if before else (DynamicCache() if keep else None)
        starts = torch.tensor(past, device=self.device)[:, None]
        sizes = torch.tensor(lengths, device=self.device)[:, None]
        steps = torch.arange(width, device=self.device)[None]
        padded = min(past) < before or min(lengths) < width
        mask = None
        if padded:
            kept = torch.arange(before, device=self.device)[None] >= before - starts
            mask = torch.cat([kept, steps < sizes], dim=1).long()
        places = starts + torch.minimum(steps, sizes - 1)
        with attention.keeping(keep):
            return self._through(heads, embeds, mask, places, cache, before, sum(lengths))

    def _through(
        self,
        heads: Sequence[Head],
        embeds: torch.Tensor,
        mask: torch.Tensor | None,
        positions: torch.Tensor,
        cache: DynamicCache | None,
        past: int,
        count: int,
    ) -> tuple[torch.Tensor, Any]:
        """Last hidden states and what is kept, of `count` positions that look back on up to `past` earlier ones."""
        if ends_alone(heads):
            past -= max(head[-1].length for head in heads)
        elif any(_moves(run) for head in heads for run in head):
            past = 0
        long = torch.is_grad_enabled() and cache is None and count >= CHECKPOINTED
        places = None if long else attention.places_read()  # what is worked out again is not told of them
        with attention.frozen_past(past), attention.reading(places), checkpointed(self.model, long):
            found = self.body(
                inputs_embeds=embeds.to(self.dtype),
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=cache is not None,
                return_dict=True,
            )
        self.count(count, found.last_hidden_state)
        return found.last_hidden_state, found.past_key_values

    @torch.no_grad()
    def _check_logits(self) -> None:
        """Proves on two tokens that `logits` does what the model itself does with its hidden states."""
        ids = torch.tensor([[1, 2]], device=self.device)
        theirs = self.model(input_ids=ids, use_cache=False).logits[0, -1].float()
        ours = self.logits(self.body(input_ids=ids, use_cache=False).last_hidden_state)[0, -1]
        self.prove(theirs, ours)


@contextmanager
def checkpointed(model: Any, wanted: bool) -> Iterator[None]:
    """Within it, each layer's inner numbers are worked out again on the way back, where the model can do that.

    It costs a third more and holds one number for each position, layer and width, instead of some twenty. The layers are told
    that they train, for this is how Transformers switches it; their parts, such as dropout, are not.
    """
    if not (wanted and getattr(model, "supports_gradient_checkpointing", False)):
        yield
        return
    model.activation_checkpointing_enable({"use_reentrant": False})
    layers = [part for part in model.modules() if getattr(part, "gradient_checkpointing", False) and not part.training]
    try:
        for layer in layers:
            layer.training = True
        yield
    finally:
        model.activation_checkpointing_disable()
        for layer in layers:
            layer.training = False


def own_copy(part: torch.Tensor) -> torch.Tensor:
    """A copy without the rest of the batch behind it: what is kept is no larger than it says."""
    return part.clone(memory_format=torch.contiguous_format)


def _length(head: Head) -> int:
    return sum(run.length for run in head)


def side_by_side(heads: Sequence[Head], width: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values of all rows, padded on the left to one length.

    Shape: for each layer two tensors [N, heads, width, D].
    """
    rows: dict[Head, int] = {}
    which = [rows.setdefault(head, len(rows)) for head in heads]
    some = list(rows)
    made = _laid_ended(some, width) if torch.is_grad_enabled() and ends_alone(some) else _both_laid(some, width)
    if which != list(range(len(heads))):
        at = torch.tensor(which, device=made[0][0].device)
        made = [[layer[at] for layer in side] for side in made]
    return list(zip(*made, strict=True))


def ends_alone(heads: Sequence[Head]) -> bool:
    """Whether a gradient is asked for the last of each row's runs, and for no other."""
    return bool(heads) and all(head and _moves(head[-1]) and not any(map(_moves, head[:-1])) for head in heads)


def _moves(run: KeysValues) -> bool:
    return run.keys.requires_grad or run.values.requires_grad


def _both_laid(heads: Sequence[Head], width: int) -> list[list[torch.Tensor]]:
    """Keys and values of rows, padded on the left. Shape: twice for each layer [N, heads, width, D]."""
    moving = torch.is_grad_enabled() and any(_moves(run) for head in heads for run in head)
    return [_stacked(heads, width, side) if moving else _laid(heads, width, side) for side in ("keys", "values")]


def _laid_ended(heads: Sequence[Head], width: int) -> list[list[torch.Tensor]]:
    """The same where a gradient is asked for the last of each row's runs alone."""
    ends = dict.fromkeys(head[-1] for head in heads)
    made = _Ended.apply(heads, width, *(side for end in ends for side in (end.keys, end.values)))  # type: ignore[no-untyped-call]
    return [list(made[: len(made) // 2]), list(made[len(made) // 2 :])]


class _Ended(Function):
    """Rows laid as by `_laid`; on the way back each end gets the sum of what its rows ask of it, and nothing else is formed."""

    @staticmethod
    def forward(ctx: Any, heads: Sequence[Head], width: int, *_: torch.Tensor) -> tuple[torch.Tensor, ...]:
        places: dict[KeysValues, list[int]] = {}
        for row, head in enumerate(heads):
            places.setdefault(head[-1], []).append(row)
        ctx.places, ctx.rows = [(end.length, rows) for end, rows in places.items()], len(heads)
        return (*_laid(heads, width, "keys"), *_laid(heads, width, "values"))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        found: list[torch.Tensor] = []
        half = len(given) // 2
        for length, rows in ctx.places:
            some = slice(None) if len(rows) == ctx.rows else rows
            for side in (given[:half], given[half:]):
                found.append(torch.stack([layer[some, :, layer.shape[2] - length :].sum(0) for layer in side]))
        return None, None, *found


def _laid(heads: Sequence[Head], width: int, side: str) -> list[torch.Tensor]:
    """Rows' keys or values padded on the left, each copied once to its place. Shape: for each layer [N, heads, width, D].

    Some layers at once, in pieces that the allocator holds ready: larger ones it asks the system for anew each time.
    """
    some: torch.Tensor = getattr(next(run for head in heads for run in head), side)
    layers, groups, size = some.shape[0], some.shape[1], some.shape[3]
    step = max(1, _PIECE // max(1, len(heads) * groups * width * size * some.element_size()))
    made: list[torch.Tensor] = []
    for first in range(0, layers, step):
        piece = some.new_empty(min(step, layers - first), len(heads), groups, width, size)
        for row, head in enumerate(heads):
            at = width - _length(head)
            piece[:, row, :, :at] = 0
            for run in head:
                piece[:, row, :, at : at + run.length] = getattr(run, side)[first : first + step]
                at += run.length
        made.extend(piece)
    return made


def _stacked(heads: Sequence[Head], width: int, side: str) -> list[torch.Tensor]:
    """As `_laid`, differentiably: a slot stands among them."""
    some = getattr(next(run for head in heads for run in head), side)[:, :, :0]
    joined = [torch.cat([some, *(getattr(run, side) for run in head)], dim=2) for head in heads]
    return list(torch.stack([F.pad(one, (0, 0, width - one.shape[2], 0)) for one in joined], dim=1))
