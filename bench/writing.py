"""promptolution and DSPy scoring candidate prompts: the same local model writes answers, and the label is read out of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dspy
import pandas as pd
import torch
from dspy.lm15 import Message, Request, Response, TextPart, Usage
from promptolution.llms.local_llm import LocalLLM
from promptolution.predictors.first_occurrence_predictor import FirstOccurrencePredictor
from promptolution.tasks.classification_tasks import ClassificationTask
from promptolution.utils.prompt import Prompt
from transformers import pipeline

from bench.setting import WORDS, Setting
from pegbox.data.rows import Rows

ANSWER = 32
"""The most tokens that DSPy's answers may take: its frame around a label has about 25."""


class PromptolutionScorer:
    """Its local model in our number type (by itself it takes bfloat16), batches of 32 (by itself 8).

    Settings:
        most: tokens of an answer; None leaves it at 256.
    """

    def __init__(self, setting: Setting, most: int | None = None) -> None:
        self._llm = LocalLLM(str(setting.folder), batch_size=32)
        model = self._llm.pipeline.model.to(setting.torch_dtype)
        if most is not None:
            known = {"model": model, "tokenizer": self._llm.tokenizer, "batch_size": 32, "return_full_text": False}
            self._llm.pipeline = pipeline("text-generation", max_new_tokens=most, **known)

    def score(self, candidates: Sequence[str], rows: Rows) -> Any:
        """Each candidate's hits on the rows."""
        frame = pd.DataFrame({"x": rows.column(), "y": list(rows.answers())})
        task = ClassificationTask(frame, n_subsamples=len(rows))  # a new one: it keeps what it has scored
        predictor = FirstOccurrencePredictor(self._llm, list(WORDS))
        return task.evaluate([Prompt(words) for words in candidates], predictor).scores


class LocalEngine:
    """The plain Transformers model, as DSPy 3.4 asks for models of one's own."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    @torch.no_grad()
    def complete(self, request: Request) -> Response:
        """Writes one answer, always the likeliest token."""
        read, model = self._setting.tokenizer, self._setting.plain
        ids = read.apply_chat_template(_turns(request), add_generation_prompt=True, return_tensors="pt", return_dict=True)
        found = model.generate(**ids, max_new_tokens=ANSWER, do_sample=False, pad_token_id=read.eos_token_id)
        before = ids["input_ids"].shape[1]
        text = read.decode(found[0, before:], skip_special_tokens=True)
        new = found.shape[1] - before
        usage = Usage(input_tokens=before, output_tokens=new, total_tokens=before + new)
        message = Message.assistant([TextPart(text or " ")])
        return Response(id=None, model=request.model, message=message, finish_reason="stop", usage=usage)


def _turns(request: Request) -> list[dict[str, str]]:
    system = request.system
    told = system if isinstance(system, str) or system is None else "".join(part.text for part in system)
    turns = [{"role": message.role, "content": message.text or ""} for message in request.messages]
    return ([{"role": "system", "content": told}] if told else []) + turns


class Sentiment(dspy.Signature):
    """Replaced by each candidate's words."""

    text: str = dspy.InputField()
    label: str = dspy.OutputField(desc="negative or positive")


class DspyScorer:
    """`dspy.Evaluate` over `dspy.Predict`, without its cache and without a second try at answers it cannot read."""

    def __init__(self, setting: Setting) -> None:
        self._lm = dspy.LM("local/smollm2", engine=LocalEngine(setting), cache=False, max_tokens=ANSWER, num_retries=0)
        self._adapter = dspy.ChatAdapter(use_json_adapter_fallback=False)

    def score(self, candidates: Sequence[str], rows: Rows) -> list[float]:
        """Each candidate's share of hits; an answer that cannot be read is a miss."""
        pairs = zip(rows.column(), rows.answers(), strict=True)
        examples = [dspy.Example(text=text, label=label).with_inputs("text") for text, label in pairs]
        judge = dspy.Evaluate(devset=examples, metric=_hit, num_threads=1, max_errors=len(examples) + 1)
        with dspy.context(lm=self._lm, adapter=self._adapter, disable_history=True):
            return [judge(dspy.Predict(Sentiment.with_instructions(words))).score for words in candidates]


def _hit(example: Any, found: Any, trace: Any = None) -> bool:  # noqa: ARG001  # DSPy passes it
    return example.label in str(found.label).lower()
