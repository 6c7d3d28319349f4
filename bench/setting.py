"""What all contestants share: the model, the task, the layout of the prompt, the number type."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.flops import Decoder
from pegbox.api import open_backbone
from pegbox.backbone.dtype import DTYPES
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.source import materialise, resolve
from pegbox.task.classification import Classification

MODEL = "smollm2"
VECTORS = 20
BATCH = 16
LABEL = "\nLabel:"
TEXT = "Text: "
WORDS = {"negative": ("negative",), "positive": ("positive",)}


@dataclass(frozen=True)
class Setting:
    """One number type's models: pegbox's own, and a plain one for the others."""

    dtype: str
    repeats: int

    @cached_property
    def backbone(self) -> HuggingFaceBackbone:
        return open_backbone(MODEL, self.dtype, "cpu")

    @cached_property
    def task(self) -> Classification:
        return Classification(tuple(WORDS), WORDS, "none")

    @cached_property
    def decoder(self) -> Decoder:
        return Decoder.of(self.backbone.loaded.model.config)

    @cached_property
    def folder(self) -> Path:
        return materialise(resolve(MODEL))

    @cached_property
    def tokenizer(self) -> Any:
        found = AutoTokenizer.from_pretrained(str(self.folder), local_files_only=True)
        found.pad_token = found.eos_token
        return found

    @cached_property
    def plain(self) -> Any:
        return self.fresh()

    def fresh(self) -> Any:
        """A model of its own for those who change theirs."""
        model = AutoModelForCausalLM.from_pretrained(str(self.folder), dtype=DTYPES[self.dtype], local_files_only=True)
        return model.eval()

    def words(self, text: str) -> int:
        """How many tokens a text has."""
        return len(self.backbone.encode(text))

    @property
    def torch_dtype(self) -> torch.dtype:
        return DTYPES[self.dtype]
