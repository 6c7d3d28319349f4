"""Transformers' masked models (BERT, RoBERTa and their kin) behind the seam.

The answer's place in the prompt is filled with masks, one for each token of a word, and the word's score is the sum of its
tokens' log-probabilities there, all masked at once. Such a model reads in both directions: a change anywhere changes what it
makes of every other position, so nothing is computed once and kept, and what follows the answer is read too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pegbox.backbone.core import Core, before_output
from pegbox.backbone.laid import LaidOut, Written
from pegbox.backbone.layout import Ids, Speller
from pegbox.backbone.live import Variants
from pegbox.backbone.loaded import Kind
from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.backbone.passes import Row, batches
from pegbox.backbone.seam import Answers, Choices, Live, Spent
from pegbox.backbone.trie import check_spelled
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError
from pegbox.prompt import Prompt


class MaskedEngine(Core):
    """A Transformers masked model, run on whole texts.

    Settings:
        model: the model with its output head.
        spent: where tokens are counted.
    """

    def __init__(self, model: Any, spent: Spent) -> None:
        super().__init__(model, spent)
        self.context -= _unread_positions(model)
        self._check_logits()

    def states(self, embeds: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """What the output matrix is given at every position of texts padded on the right.

        Shape: embeds [N, T, H]; lengths N; result [N, T, H], in the model's dtype.
        """
        sizes = torch.tensor(lengths, device=self.device)[:, None]
        real = torch.arange(embeds.shape[1], device=self.device)[None] < sizes
        mask = real.long() if min(lengths) < embeds.shape[1] else None
        given = embeds.to(self.dtype)
        made = before_output(self.model, lambda: self.model(inputs_embeds=given, attention_mask=mask))
        self.count(sum(lengths), made)
        return made

    @torch.no_grad()
    def _check_logits(self) -> None:
        """Proves on two tokens that `logits` does what the model itself does, in its last step."""
        ids = torch.tensor([[1, 2]], device=self.device)
        theirs = self.model(input_ids=ids).logits[0, -1]
        self.prove(theirs, self.logits(before_output(self.model, lambda: self.model(input_ids=ids)))[0, -1])


def _unread_positions(model: torch.nn.Module) -> int:
    """How many of the configuration's positions no text can have: RoBERTa counts from behind its padding token's number."""
    tables = [part for name, part in model.named_modules() if name.endswith("position_embeddings")]
    return max((t.padding_idx + 1 for t in tables if getattr(t, "padding_idx", None) is not None), default=0)


class MaskedBound(LaidOut):
    """See `pegbox.backbone.seam.Bound`."""

    _engine: MaskedEngine

    def __init__(self, prompt: Prompt, rows: Rows, answers: Answers | Written, engine: MaskedEngine, speller: Speller) -> None:
        super().__init__(prompt, rows, engine, speller)
        self.after = self._rest + speller.after
        self._mask: Ids = (int(speller.tokenizer.mask_token_id),)
        self._choices: list[Ids] = []
        reach = self._read_answers(answers, self._space, speller)
        self.cut_rows = self._cut(engine.context - len(self.after) - 1, reach)

    def _read_answers(self, answers: Answers | Written, space: str, speller: Speller) -> int:
        if not isinstance(answers, Choices):
            return super()._read_answers(answers, space, speller)
        self._choices = self._spelled(answers, space, speller)
        check_spelled(self._choices, answers.words)
        return max(map(len, self._choices)) - 1

    def score(self, index: Sequence[int], live: Live | None = None, only: Sequence[int] | None = None) -> torch.Tensor:
        """See `pegbox.backbone.seam.Bound.score`.

        Choices of one length share a pass. Over the choices, the words' sums are brought to probabilities that add up to 1, so
        that words of one token score as they do on a causal model; a word of more tokens has more to be unsure of, and pays
        for it. Over the vocabulary the sums are as they are.

        Targets get their pseudo-log-likelihood: each token masked by itself, all the others read.

        Source: Salazar et al. 2020, "Masked Language Model Scoring" (arXiv 1910.14659), for targets.
        Raises: BackboneError where a gradient is asked for of targets: it would take a pass for each token to be held.
        """
        asked = self._checked(index)
        self._check_only(only)
        now = self.values(asked, live)
        if torch.is_grad_enabled() and (now.needs_gradient or self._engine.training):
            if self.targets is not None:
                raise BackboneError(
                    f"training on target texts with {type(self._engine.model).__name__}, a masked model",
                    "labels to choose from, or a model that writes",
                    "switch channel scoring off, or take a causal or an encoder-decoder model",
                )
            return self._one_each(self._read(asked, range(len(asked)), now), only)
        order = sorted(range(len(asked)), key=lambda at: (sum(map(_length, self._layouts[asked[at]])), asked[at]))
        return self._one_each(self._in_portions(order, lambda some: self._read(asked, some, now)), only)

    @torch.no_grad()
    def next_words(self, index: Sequence[int], tokens: Sequence[int] | None = None) -> torch.Tensor:
        """See `pegbox.backbone.seam.Bound.next_words`: at one mask."""
        asked = self._checked(index)
        now = self.values(asked)
        states = self._states([self._row(now, 0, at, row, self._mask) for at, row in enumerate(asked)], now)
        return self._engine.logits(torch.cat(states), tokens).log_softmax(-1)

    def _row(self, now: Variants, variant: int, at: int, row: int, answer: Ids, read: int = 0) -> Row:
        """A whole text with these tokens as its answer, of which some are read from the `read`-th on."""
        front = self._flat(self._layouts[row], now, variant)
        codes = front + answer + self.after
        self._check_room(len(codes), row)
        return Row((), codes, len(front) + read, variant, at)

    def _states(self, rows: Sequence[Row], now: Variants, count: int = 1) -> list[torch.Tensor]:
        """What the output matrix is given at the `count` positions that are read of each row. Shape: for each [count, H]."""
        if torch.is_grad_enabled():
            return self._pass(rows, now, count)
        found: dict[int, torch.Tensor] = {}
        for batch in batches(rows):
            found.update(zip(batch, self._pass([rows[at] for at in batch], now, count), strict=True))
        return [found[at] for at in range(len(rows))]

    def _pass(self, rows: Sequence[Row], now: Variants, count: int) -> list[torch.Tensor]:
        embeds = now.embeds([row.codes for row in rows], [row.variant for row in rows], [row.at for row in rows])
        made = self._engine.states(embeds, [len(row.codes) for row in rows])
        return [states[row.read : row.read + count] for states, row in zip(made, rows, strict=True)]

    def _read(self, asked: Sequence[int], some: Sequence[int], now: Variants) -> torch.Tensor:
        """Log-probabilities for some of the rows asked about. Shape: [K, rows, C]."""
        each = [(variant, at) for variant in range(now.count) for at in some]
        if self.targets is not None:
            sums = [self._pseudo_sum(now, variant, at, asked[at]) for variant, at in each]
            return torch.stack(sums).view(now.count, -1, 1)
        lengths = sorted(set(map(len, self._choices)))
        found: dict[int, torch.Tensor] = {}
        for length in lengths:
            rows = [self._row(now, variant, at, asked[at], self._mask * length) for variant, at in each]
            states = torch.stack(self._states(rows, now, length))
            numbers = [number for number, word in enumerate(self._choices) if len(word) == length]
            sums_of_words = self._sums(states, numbers, whole=self._over_vocabulary or len(lengths) > 1)
            found.update(zip(numbers, sums_of_words.unbind(-1), strict=True))
        scores = torch.stack([found[number] for number in range(len(self._choices))], dim=-1)
        return (scores if self._over_vocabulary else scores.log_softmax(-1)).view(now.count, len(some), -1)

    def _sums(self, states: torch.Tensor, numbers: Sequence[int], whole: bool) -> torch.Tensor:
        """The sums over words of one length.

        Settings:
            numbers: the words.
            whole: of log-probabilities over the vocabulary; else of logits, which differ from these by the same for each word.

        Shape: states [N, tokens of a word, H]; result [N, words].
        """
        tokens = sorted({token for number in numbers for token in self._choices[number]})
        logs = self._engine.logits(states).log_softmax(-1) if whole else self._engine.logits(states, tokens)
        column = {token: token if whole else at for at, token in enumerate(tokens)}
        words = [[column[token] for token in self._choices[number]] for number in numbers]
        return logs[:, torch.arange(states.shape[1]), torch.tensor(words, device=logs.device)].sum(-1)

    def _pseudo_sum(self, now: Variants, variant: int, at: int, row: int) -> torch.Tensor:
        assert self.targets is not None
        ids = self.targets[row]
        hidden = (ids[:n] + self._mask + ids[n + 1 :] for n in range(len(ids)))
        rows = [self._row(now, variant, at, row, answer, n) for n, answer in enumerate(hidden)]
        return self._target_sum(row, torch.cat(self._states(rows, now)))


def _length(piece: object) -> int:
    return len(piece) if isinstance(piece, tuple) else 0


class MaskedBackbone(LoadedBackbone):
    """See `pegbox.backbone.seam.Backbone`; settings as in `pegbox.backbone.loaded_backbone.LoadedBackbone`.

    Raises: BackboneError for a tokenizer without a mask.
    """

    kind: Kind = "masked"
    _engine: MaskedEngine

    def _engine_of(self, model: Any) -> MaskedEngine:
        if self.loaded.tokenizer.mask_token_id is None:
            raise BackboneError(
                f"the model {self.name!r}, whose tokenizer has no mask",
                "a mask token, in whose place a masked model answers",
                "give the tokenizer's own files, or another model",
            )
        return MaskedEngine(model, self.spent)

    def bind(self, prompt: Prompt, rows: Rows, answers: Answers) -> MaskedBound:
        """See `pegbox.backbone.seam.Backbone.bind`."""
        return MaskedBound(prompt, rows, answers, self._engine, self._speller)

    def _written(self, prompt: Prompt, rows: Rows, room: int) -> MaskedBound:
        return MaskedBound(prompt, rows, Written(room), self._engine, self._speller)

    def generate(self, *_asked: Any, **_settings: Any) -> list[str]:
        """Refused: a masked model writes no texts. Raises BackboneError."""
        raise BackboneError(
            f"writing texts with {self.name!r}, a masked model",
            "a model that writes: a causal or an encoder-decoder one",
            "choose among labels with this one, or take another",
        )
