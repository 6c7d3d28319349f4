"""Generation: a text is written for each row, and compared with one or several references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.decoding import Decoding
from pegbox.backbone.guide import grammar
from pegbox.backbone.seam import Backbone
from pegbox.data.references import apart, references
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.metrics import generation as metrics
from pegbox.prompt import Prompt
from pegbox.task.likelihood import BoundLikelihood, Likelihood
from pegbox.task.task import Statistics, Task

RANKED = ("rouge_l", "chrf", "bleu", "token_f1", "exact_match")
"""What texts may be ranked by."""
SHOWN = ("perplexity", "length_ratio", "repetition")
DEV_ROWS = 100
"""Dev rows that are written for at the end of tuning."""
_ROOM = 1.25  # times the longest reference
_MORE = 8  # tokens


class Written(str):
    """A text that was written, and how likely the model found the references of its row.

    Settings:
        loss: nats of all the references' tokens together; 0 where there are none.
        tokens: how many these are.
    """

    __slots__ = ("loss", "tokens")
    loss: float
    tokens: int

    def __new__(cls, text: str, loss: float = 0.0, tokens: int = 0) -> Self:
        made = super().__new__(cls, text)
        made.loss, made.tokens = loss, tokens
        return made


@dataclass(frozen=True)
class Generation(Task):
    """What is written for a text.

    Tuning goes by the likelihood of the references, a row for each of them; which prompt of a method is kept, too. Methods are
    ranked by what is written.

    Settings:
        main: the measure that methods are ranked by: rouge_l, chrf, bleu, token_f1 or exact_match. chrF minds what is missing
            more than what is too much, so that texts of twice the length come off well by it.
        max_tokens: the most that is written. None: a quarter more than the longest training reference takes.
        stop, temperature, top_p, seed, beams, length_penalty, regex, json_schema: see `pegbox.backbone.decoding.Decoding`.
    """

    name: ClassVar[str] = "generate"

    main: str = "rouge_l"
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    beams: int = 1
    length_penalty: float = 1.0
    regex: str | None = None
    json_schema: str | None = None

    def __post_init__(self) -> None:
        if self.main not in RANKED:
            raise SettingsError(f"main={self.main!r}", f"one of {', '.join(RANKED)}", "choose one of them")
        # a command line gives a new line as two characters
        object.__setattr__(self, "stop", tuple(mark.replace("\\n", "\n") for mark in self.stop))
        self.decoding(1)  # complains now

    @property
    def measures(self) -> tuple[str, ...]:
        """The main one first."""
        return (self.main, *(name for name in RANKED if name != self.main), *SHOWN)

    def decoding(self, room: int) -> Decoding:
        """How texts are written.

        Settings:
            room: the most tokens, where the task does not say.
        """
        settings = {name: value for name, value in asdict(self).items() if name not in ("main", "max_tokens")}
        return Decoding(max_tokens=room if self.max_tokens is None else self.max_tokens, **settings)

    def check(self, prompt: Prompt, *parts: Rows) -> None:
        """See `pegbox.task.task.Task.check`; a form that cannot be used is told here too, before anything is tuned."""
        grammar(self.decoding(1))
        super().check(prompt, *parts)

    def statistics(self, outputs: Sequence[Any], rows: Rows) -> Statistics:
        """See `pegbox.metrics.generation`; perplexity is that of the references under the prompt."""
        found = metrics.statistics([str(text) for text in outputs], references(rows))
        spent = [(getattr(text, "loss", 0.0), getattr(text, "tokens", 0)) for text in outputs]
        return {**found, "perplexity": np.array(spent, dtype=np.float64)}

    def said(self, rows: Rows) -> tuple[str, ...]:
        """The signatures of BLEU and chrF."""
        found = metrics.signatures(references(rows))
        return (f"BLEU is {found['bleu']}; chrF is {found['chrf']}",)

    def show(self, output: Any) -> str:
        return str(output)

    def plain(self, output: Any) -> Any:
        return str(output)

    def gold_texts(self, rows: Rows) -> list[str]:
        return [" | ".join(texts) for texts in references(rows)]

    def tuned_as(self, train: Rows, dev: Rows) -> tuple[Likelihood, Rows, Rows]:
        """The likelihood of the references, each a row of its own."""
        return Likelihood(), apart(train), apart(dev)

    def predictor(self, prompt: Prompt, backbone: Backbone, train: Rows) -> TextPredictor:
        longest = max(len(backbone.encode(text)) for texts in references(train) for text in texts)
        room = min(int(_ROOM * longest) + _MORE, max(1, backbone.context // 4))
        return TextPredictor(prompt, self, backbone, room if self.max_tokens is None else self.max_tokens)

    def around(self, fitted: Any, backbone: Backbone, train: Rows) -> Adapted:  # noqa: ARG002  # it has its own
        """A reference with weights of its own, writing after the prompt that it was trained with."""
        made = self.predictor(fitted.template, fitted.backbone, train)
        return Adapted(made.prompt, self, made.backbone, made.max_tokens, fitted)

    def dev_score(self, predictor: Any, dev: Rows) -> float:
        """The main measure on some of the rows that were chosen on: writing takes long."""
        some = sorted(np.random.default_rng(0).permutation(len(dev))[:DEV_ROWS])
        return super().dev_score(predictor, dev.take(some))

    def to_json(self) -> Mapping[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        return cls(**{**content, "stop": tuple(content["stop"])})

    def restored(self, prompt: Prompt, backbone: Backbone, state: Mapping[str, Any]) -> TextPredictor:
        return TextPredictor(prompt, self, backbone, int(state["max_tokens"]))


@dataclass(frozen=True)
class TextPredictor:
    """A filled prompt over a frozen backbone, after which texts are written.

    Settings:
        max_tokens: the most that is written.
    """

    prompt: Prompt
    task: Generation
    backbone: Backbone
    max_tokens: int

    @property
    def parameters(self) -> int:
        return self.prompt.parameters

    @property
    def nbytes(self) -> int | None:
        return None  # known once it is saved

    def state(self) -> Mapping[str, Any]:
        """See `pegbox.task.task.Prompted.state`."""
        return {"max_tokens": self.max_tokens}

    def request(self, rows: Rows) -> tuple[Prompt, Rows]:
        """See `pegbox.task.task.Prompted.request`."""
        return self.prompt, rows

    def answers(self, rows: Rows) -> list[Written]:
        """The texts, white space at their ends left out; where rows have references, with how likely these are."""
        texts, spent = self.texts(rows), self._references(rows)
        return [Written(text.strip(), float(loss), int(tokens)) for text, (loss, tokens) in zip(texts, spent, strict=True)]

    def texts(self, rows: Rows) -> list[str]:
        """What is written, and nothing else."""
        return self.backbone.generate(self.prompt, rows, **asdict(self.task.decoding(self.max_tokens)))

    def _references(self, rows: Rows) -> NDArray[np.float64]:
        """Each row's references: nats and tokens. Shape: [B, 2]."""
        found = np.zeros((len(rows), 2))
        if rows.gold is not None:
            counts = [len(texts) for texts in references(rows)]
            sums = BoundLikelihood(self.prompt, self.backbone, apart(rows)).sums()
            np.add.at(found, np.repeat(np.arange(len(rows)), counts), sums)
        return found

    def cut_rows(self, rows: Rows) -> tuple[int, ...]:
        """Positions of the rows whose texts are cut to fit into the model's context."""
        return self.backbone.cut_rows(self.prompt, rows, self.max_tokens)


@dataclass(frozen=True)
class Adapted:
    """A text predictor over weights that were trained: what was tuned is no prompt, so none is kept.

    Settings:
        template: the written prompt.
        fitted: what holds the trained weights.
    """

    template: Prompt
    task: Generation
    backbone: Backbone
    max_tokens: int
    fitted: Any
    prompt: None = None

    @property
    def parameters(self) -> int:
        return int(self.fitted.parameters)

    @property
    def nbytes(self) -> int | None:
        found: int | None = self.fitted.nbytes
        return found

    def request(self, rows: Rows) -> tuple[Prompt, Rows]:
        """See `pegbox.task.predictor.Requesting.request`."""
        return self.template, rows

    def texts(self, rows: Rows) -> list[str]:
        """See `TextPredictor.texts`."""
        return TextPredictor(self.template, self.task, self.backbone, self.max_tokens).texts(rows)

    def answers(self, rows: Rows) -> list[Written]:
        """See `TextPredictor.answers`."""
        return TextPredictor(self.template, self.task, self.backbone, self.max_tokens).answers(rows)

    def cut_rows(self, rows: Rows) -> tuple[int, ...]:
        """See `TextPredictor.cut_rows`."""
        return TextPredictor(self.template, self.task, self.backbone, self.max_tokens).cut_rows(rows)
