"""Guides: which tokens may come next, so that what is written matches a regular expression or a JSON schema.

The package llguidance does the work, as an extra.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch

from pegbox.backbone.decoding import Decoding
from pegbox.errors import SettingsError

_COMPACT: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON as most models write it; white space without end would use up the tokens."""


class Guide(Protocol):
    """What may be written on from where a text stands."""

    def allow(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits with those of forbidden tokens at minus infinity. Shape: [V] to [V]."""

    def after(self, token: int) -> Guide:
        """The guide once this token is written; the one before stays as it was."""


class Free:
    """Anything goes."""

    def allow(self, logits: torch.Tensor) -> torch.Tensor:
        return logits

    def after(self, token: int) -> Free:  # noqa: ARG002  # nothing depends on it
        return self


class Guided:
    """Only what a grammar allows.

    Settings:
        matcher: llguidance's, at the place where the text stands.
    """

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def allow(self, logits: torch.Tensor) -> torch.Tensor:
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, bitorder="little")[: len(logits)].astype(np.bool_)
        return logits.masked_fill(~torch.from_numpy(allowed).to(logits.device), -torch.inf)

    def after(self, token: int) -> Guided:
        matcher = self._matcher.deep_copy()
        matcher.consume_token(token)
        return Guided(matcher)


def guide(decoding: Decoding, tokenizer: Any, vocabulary: int, ends: Iterable[int]) -> Guide:
    """The guide at the beginning of a text.

    Settings:
        tokenizer: Transformers' fast one.
        vocabulary: how many logits there are.
        ends: the tokens that end a text.

    Raises: as `grammar`.
    """
    found = grammar(decoding)
    if found is None:
        return Free()
    from llguidance import LLMatcher
    from llguidance.hf import from_tokenizer

    matcher = LLMatcher(from_tokenizer(tokenizer, vocabulary, eos_token=sorted(ends)), found)
    if matcher.is_error():
        raise SettingsError(
            f"a form of texts: {str(matcher.get_error())[:300]}", "one that llguidance can follow", "simplify it"
        )
    return Guided(matcher)


def grammar(decoding: Decoding) -> str | None:
    """The form that texts are to keep to, as llguidance reads it; None where they are free. It takes no model.

    Raises: SettingsError for an expression or a schema that cannot be used, and without the package llguidance.
    """
    if decoding.regex is None and decoding.json_schema is None:
        return None
    try:
        from llguidance import LLMatcher
    except ImportError as error:
        raise SettingsError(
            "constrained writing without the package llguidance", "llguidance", "pip install 'pegbox[constrain]'"
        ) from error
    what, given = ("JSON schema", decoding.json_schema) if decoding.regex is None else ("regular expression", decoding.regex)
    found = ""
    try:
        if decoding.regex is None:
            found = LLMatcher.grammar_from_json_schema(given or "", overrides=_COMPACT)
        else:
            found = LLMatcher.grammar_from_regex(decoding.regex)
        wrong = LLMatcher.validate_grammar(found)
    except ValueError as error:
        wrong = str(error)
    if wrong:
        raise SettingsError(f"the {what} {given!r}: {wrong[:300]}", f"a {what} that llguidance can follow", "correct it")
    return found
