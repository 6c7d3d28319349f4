"""Transformers' encoder-decoder models (T5, BART and their kin) behind the seam.

The encoder reads the prompt up to the answer, in both directions: a change anywhere changes all of its reading. So a row is
read anew wherever a slot is live, and kept where none is: then only the few tokens of the answers are run, by the decoder. The
answer is a text of its own, and is spelled as one: no space before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from pegbox.backbone.decoding import Decoding
from pegbox.backbone.encoder_decoder_engine import EncoderDecoderEngine
from pegbox.backbone.encoder_decoder_writing import Running, write
from pegbox.backbone.engine import Head
from pegbox.backbone.frozen import Front, Frozen
from pegbox.backbone.laid import LaidOut, Written
from pegbox.backbone.layout import Ids, Speller
from pegbox.backbone.live import Variants
from pegbox.backbone.loaded import Kind
from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.backbone.passes import Row, batches
from pegbox.backbone.prefix_store import PrefixStore
from pegbox.backbone.seam import Answers, Live
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.prompt import Prompt

TOGETHER = 16
"""Rows that are written at the same time."""


class EncoderDecoderBound(LaidOut):
    """See `pegbox.backbone.seam.Bound`.

    Settings:
        begin: the tokens with which the decoder begins.
    """

    _engine: EncoderDecoderEngine

    def __init__(
        self,
        prompt: Prompt,
        rows: Rows,
        answers: Answers | Written,
        engine: EncoderDecoderEngine,
        store: PrefixStore,
        speller: Speller,
        begin: Ids,
    ) -> None:
        super().__init__(prompt, rows, engine, speller)
        self.after, self._begin, self.target_end = speller.after, begin, speller.eos
        self._frozen = Frozen(prompt, self.numbers, engine, store)
        self._read_answers(answers, "", speller)
        cut = self._cut_targets(engine.context - len(begin))  # with room for the token that ends it
        cut |= self._cut_fields([engine.context - len(self.after)] * len(self._layouts))
        self.cut_rows = tuple(sorted(cut))

    def score(self, index: Sequence[int], live: Live | None = None, only: Sequence[int] | None = None) -> torch.Tensor:
        """See `pegbox.backbone.seam.Bound.score`."""
        asked = self._checked(index)
        self._check_only(only)
        now = self.values(asked, live)
        if torch.is_grad_enabled() and (now.needs_gradient or self._engine.training):
            return self._one_each(self._read(asked, range(len(asked)), now), only)
        order = sorted(range(len(asked)), key=lambda at: (self._length(asked[at]), asked[at]))
        return self._one_each(self._in_portions(order, lambda some: self._read(asked, some, now)), only)

    @torch.no_grad()
    def next_words(self, index: Sequence[int], tokens: Sequence[int] | None = None) -> torch.Tensor:
        """See `pegbox.backbone.seam.Bound.next_words`."""
        asked = self._checked(index)
        rows = [self._row(head, (), 0, at) for at, head in enumerate(self.readings(asked))]
        return self._engine.logits(torch.cat(self._states(rows)), tokens).log_softmax(-1)

    def readings(self, asked: Sequence[int]) -> list[Head]:
        """The encoder's readings of rows, all slots filled."""
        now = self.values(asked)
        return self._readings(asked, range(len(asked)), now)

    def _readings(self, asked: Sequence[int], some: Sequence[int], now: Variants) -> list[Head]:
        """The encoder's readings of some of the rows asked about, for each variant: kept ones where nothing is live."""
        # a single request keeps nothing of the user's text
        if not now.names and (len(self._layouts) > 1 or not self._own_pieces):
            return self._frozen.own(self._front, [asked[at] for at in some])
        rows = [
            Row((), self._flat(self._layouts[asked[at]], now, variant) + self.after, 0, variant, at)
            for variant in range(now.count)
            for at in some
        ]
        for row in rows:
            self._check_room(len(row.codes), asked[row.at])
        if torch.is_grad_enabled():
            return self._encoded(rows, now)
        found: dict[int, Head] = {}
        for batch in batches(rows):
            found.update(zip(batch, self._encoded([rows[at] for at in batch], now), strict=True))
        return [found[at] for at in range(len(rows))]

    @cached_property
    def _front(self) -> Front:
        """All rows with all slots filled, of which readings are kept as far as there is room."""
        return self._frozen.front(
            (), tuple(codes + self.after for codes in self.contexts(range(len(self._layouts)))), keep=True
        )

    def _encoded(self, rows: Sequence[Row], now: Variants) -> list[Head]:
        embeds = now.embeds([row.codes for row in rows], [row.variant for row in rows], [row.at for row in rows])
        read = self._engine.extend([()] * len(rows), embeds, [len(row.codes) for row in rows])
        return [(run,) for run in read]

    def _row(self, reading: Head, answer: Ids, variant: int, at: int) -> Row:
        """What the decoder reads over a reading: how it begins, and these tokens of an answer."""
        return Row(reading, self._begin + answer, len(self._begin), variant, at)

    def _states(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        """What the output matrix is given, from where the answer begins. Shape: for each row [T, H]."""
        if torch.is_grad_enabled():
            return self._pass(rows)
        found: dict[int, torch.Tensor] = {}
        for batch in batches(rows):
            found.update(zip(batch, self._pass([rows[at] for at in batch]), strict=True))
        return [found[at] for at in range(len(rows))]

    def _pass(self, rows: Sequence[Row]) -> list[torch.Tensor]:
        made = self._engine.states([row.head for row in rows], [row.codes for row in rows])
        return [states[row.read - 1 : len(row.codes)] for states, row in zip(made, rows, strict=True)]

    def _read(self, asked: Sequence[int], some: Sequence[int], now: Variants) -> torch.Tensor:
        """Log-probabilities for some of the rows asked about. Shape: [K, rows, C]."""
        each = [(variant, at) for variant in range(now.count) for at in some]
        read = list(zip(self._readings(asked, some, now), each, strict=True))
        if self.targets is not None:
            rows = [self._row(head, self.targets[asked[at]][:-1], variant, at) for head, (variant, at) in read]
            states = self._states(rows)
            sums = [self._target_sum(asked[row.at], found) for row, found in zip(rows, states, strict=True)]
            return torch.stack(sums).view(now.count, -1, 1)
        trunks = self._trunks()
        rows = [self._row(head, trunk, variant, at) for head, (variant, at) in read for trunk in trunks]
        return self._choose(self._states(rows)).view(now.count, len(some), -1)

    def _length(self, row: int) -> int:
        return sum(len(piece) for piece in self._layouts[row] if isinstance(piece, tuple))


class EncoderDecoderBackbone(LoadedBackbone):
    """See `pegbox.backbone.seam.Backbone`; settings as in `pegbox.backbone.loaded_backbone.LoadedBackbone`."""

    kind: Kind = "encoder-decoder"
    _engine: EncoderDecoderEngine

    def _engine_of(self, model: Any) -> EncoderDecoderEngine:
        return EncoderDecoderEngine(model, self.spent)

    @property
    def _begin(self) -> Ids:
        """How the decoder begins: BART's reads the mark that begins its texts, too."""
        return (self._engine.begin, *self._speller.start)

    def bind(self, prompt: Prompt, rows: Rows, answers: Answers) -> EncoderDecoderBound:
        """See `pegbox.backbone.seam.Backbone.bind`."""
        return self._bound(prompt, rows, answers)

    def _bound(self, prompt: Prompt, rows: Rows, answers: Answers | Written) -> EncoderDecoderBound:
        return EncoderDecoderBound(prompt, rows, answers, self._engine, self.store, self._speller, self._begin)

    def _written(self, prompt: Prompt, rows: Rows, room: int) -> EncoderDecoderBound:
        return self._bound(prompt, rows, Written(room))

    @torch.no_grad()
    def generate(
        self,
        prompt: Prompt,
        rows: Rows,
        *,
        max_tokens: int = 64,
        stop: Sequence[str] = (),
        temperature: float = 0.0,
        seed: int = 0,
        **more: Any,
    ) -> list[str]:
        """See `pegbox.backbone.seam.Backbone.generate`.

        Raises: SettingsError where the decoder cannot write so much, and for beams and forms, which are for causal models.
        """
        decoding = Decoding(max_tokens, tuple(stop), temperature, seed=seed, **more)
        if decoding.beams > 1 or decoding.regex is not None or decoding.json_schema is not None:
            raise SettingsError(
                f"beams, a regular expression or a JSON schema for {self.name!r}, which has an encoder and a decoder",
                "texts written greedily or by chance",
                "leave these settings out, or take a causal model",
            )
        if len(self._begin) + max_tokens - 1 > self.context:
            most = self.context - len(self._begin) + 1
            raise SettingsError(f"max_tokens={max_tokens}", f"at most {most}, what {self.name!r} can write", "ask for fewer")
        bound = self._written(prompt, rows, max_tokens)
        ends = {self._speller.eos, *self._engine.ends}
        texts: list[str] = []
        for first in range(0, len(rows), TOGETHER):
            some = range(first, min(first + TOGETHER, len(rows)))
            running = Running(self._engine, bound.readings(some), self._begin)
            texts += write(running, self._engine, self._speller, decoding, ends, some)
        return texts
