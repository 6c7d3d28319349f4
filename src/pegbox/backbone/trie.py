"""The tree of the answers' tokens: where the choices part, a choice is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pegbox.errors import PromptError

Path = tuple[int, ...]


@dataclass(frozen=True)
class Fork:
    """A place where answers part.

    Settings:
        path: the tokens that lead here from the context.
        tokens: the different next tokens.
    """

    path: Path
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class AnswerTrie:
    """The forks between C token sequences, and for each answer the turns it takes.

    Settings:
        forks: all places with two or more ways on.
        turns: for each answer, pairs (fork number, number of the token taken there).
    """

    forks: tuple[Fork, ...]
    turns: tuple[tuple[tuple[int, int], ...], ...]

    def trunks(self) -> tuple[Path, ...]:
        """The fewest paths that pass every fork: those that are no beginning of another's."""
        paths = {fork.path for fork in self.forks}
        return tuple(sorted(p for p in paths if not any(q != p and q[: len(p)] == p for q in paths)))

    def path(self, answer: int) -> Path:
        """The tokens that lead to the last fork on an answer's way."""
        return self.forks[self.turns[answer][-1][0]].path

    def choices(self, answer: int) -> list[tuple[int, int]]:
        """What is chosen on an answer's way: after how many tokens, and which token."""
        return [(len(self.forks[fork].path), self.forks[fork].tokens[token]) for fork, token in self.turns[answer]]

    def read(
        self, state: Callable[[int, int], torch.Tensor], shares: Callable[[torch.Tensor, tuple[int, ...]], torch.Tensor]
    ) -> torch.Tensor:
        """Log-probabilities of the answers.

        Settings:
            state: the hidden states [..., H] where so many tokens of a trunk have been read, by its number.
            shares: log-probabilities of some tokens there. Shape: [..., H] to [..., number of tokens].

        Shape: [..., C].
        """
        trunks = self.trunks()
        ways = []
        for fork in self.forks:
            trunk = next(n for n, path in enumerate(trunks) if path[: len(fork.path)] == fork.path)
            ways.append(shares(state(trunk, len(fork.path)), fork.tokens))
        return torch.stack([sum_ways(ways, turns) for turns in self.turns], dim=-1)


def check_spelled(sequences: Sequence[Path], words: Sequence[str]) -> None:
    """Raises PromptError when two answers are the same tokens, or one has none.

    Settings:
        sequences: each answer's token ids.
        words: the answers as written, for messages.
    """
    first: dict[Path, str] = {}
    for sequence, word in zip(map(tuple, sequences), words, strict=True):
        if not sequence:
            raise PromptError(f"the answer {word!r} has no tokens", "words of at least one token", "give the label a word")
        if sequence in first:
            raise PromptError(
                f"the answers {first[sequence]!r} and {word!r} are the same tokens",
                "a different word for each",
                "change one of them",
            )
        first[sequence] = word


def answer_trie(sequences: Sequence[Path], end: int, words: Sequence[str]) -> AnswerTrie:
    """The trie of the answers' token sequences.

    Settings:
        sequences: each answer's token ids.
        end: the token that follows a finished answer; it tells "good" from "good enough".
        words: the answers as written, for messages.

    Raises: PromptError when two answers are the same tokens, one has none, or one goes on just as the prompt does after
        another.
    """
    check_spelled(sequences, words)
    closed = [(*sequence, end) for sequence in sequences]
    for i in range(len(closed)):
        for j in range(i):
            short, long = sorted((j, i), key=lambda at: len(closed[at]))
            if closed[long][: len(closed[short])] == closed[short]:
                raise PromptError(
                    f"the answer {words[long]!r} goes on after {words[short]!r} just as the prompt itself does",
                    "answers that can be told apart from what follows [answer]",
                    "change one of them, or the text after [answer]",
                )
    ways: dict[Path, list[int]] = {}
    for sequence in closed:
        for depth, token in enumerate(sequence):
            nexts = ways.setdefault(sequence[:depth], [])
            if token not in nexts:
                nexts.append(token)
    forks = [Fork(path, tuple(nexts)) for path, nexts in ways.items() if len(nexts) > 1]
    number = {fork.path: i for i, fork in enumerate(forks)}
    turns = [
        tuple(
            (number[sequence[:depth]], forks[number[sequence[:depth]]].tokens.index(token))
            for depth, token in enumerate(sequence)
            if sequence[:depth] in number
        )
        for sequence in closed
    ]
    return AnswerTrie(tuple(forks), tuple(turns))


def sum_ways(ways: Sequence[torch.Tensor], turns: Sequence[tuple[int, int]]) -> torch.Tensor:
    """The log-probability of one answer: the sum over the forks on its way."""
    parts = [ways[fork][..., token] for fork, token in turns]
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
