"""What of a request is the user's own text."""

from __future__ import annotations

from pegbox.prompt import parse
from pegbox.prompt.turns import written
from pegbox.recipe.speed import _own_texts


def test_of_a_conversation_it_is_what_was_said() -> None:
    row = {"turns": written((("user", "hi"), ("assistant", "hello"), ("user", "bye"))), "system": "Be kind."}
    prompt = parse("[system] Short. [turns] {turns} [assistant] [answer]")
    assert _own_texts(prompt, row) == ["hi", "hello", "bye"]


def test_of_a_text_it_is_the_fields_that_the_prompt_reads() -> None:
    assert _own_texts(parse("{a}: {text} [answer]"), {"text": "x", "a": "y", "b": "z"}) == ["y", "x"]
