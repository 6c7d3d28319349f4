"""What a method may spend, and the meter that says when it is spent."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass

from pegbox.backbone.seam import Backbone
from pegbox.errors import SettingsError
from pegbox.tune.trail import Trail

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_SCALES = {"": 1, "k": 1_000, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000}


@dataclass(frozen=True)
class Budget:
    """What a method may spend on tuning; every method in a comparison gets the same.

    Settings:
        seconds: wall clock.
        tokens: tokens through the backbone, forward and backward added up.

    Raises: SettingsError when neither or both are given, or for nothing to spend.
    """

    seconds: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.seconds, self.tokens) if value is not None]
        if len(given) != 1 or not 0 < given[0] < math.inf:
            raise SettingsError(
                f"a budget of {self.seconds} seconds and {self.tokens} tokens",
                "one of the two, a number above 0, and None for the other",
                "say for example 5m or 2Mtokens",
            )

    @classmethod
    def parse(cls, text: str) -> Budget:
        """The budget that a person wrote: ``90s``, ``5m``, ``1h``, ``200ktokens``, ``2Mtokens``."""
        if found := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh])\s*", text):
            return cls(seconds=float(found[1]) * _UNITS[found[2]])
        if found := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKMG]?)\s*tokens\s*", text):
            return cls(tokens=round(float(found[1]) * _SCALES[found[2]]))
        raise SettingsError(
            f"a budget of {text!r}", "a time or a number of tokens: 90s, 5m, 1h, 200ktokens, 2Mtokens", "write it so"
        )

    def __str__(self) -> str:
        return f"{self.seconds:.15g}s" if self.seconds is not None else f"{self.tokens}tokens"

    def share(self, part: float) -> Budget:
        """A part of this budget, for one stage of a composed method."""
        if self.seconds is not None:
            return Budget(seconds=self.seconds * part)
        assert self.tokens is not None
        return Budget(tokens=max(1, int(self.tokens * part)))


class Meter:
    """Counts what a run has spent.

    A budget in seconds is turned into tokens by `settle` or `allow`, once, after the run's first piece of typical work; the
    result is written in the trail. From then on only tokens count, so an interrupted run ends where an uninterrupted one would
    have.

    Settings:
        budget: what may be spent.
        backbone: whose tokens are counted.
        trail: where the plan is written, and read on a second try.
    """

    def __init__(self, budget: Budget, backbone: Backbone, trail: Trail) -> None:
        self.budget = budget
        self._backbone, self._trail = backbone, trail
        self._tokens_before, self._reused_before = self._all_tokens(), backbone.spent.reused
        self._replayed = 0
        self._started = time.monotonic()
        self._allowance = budget.tokens
        if budget.tokens is None:
            plan = trail.kept("plan")
            self._allowance = None if plan is None else int(plan["tokens"])

    def _all_tokens(self) -> int:
        return self._backbone.spent.forward + self._backbone.spent.backward

    @property
    def tokens(self) -> int:
        """Tokens spent so far, those of an interrupted first try included."""
        return self._all_tokens() - self._tokens_before + self._replayed

    @property
    def tokens_run(self) -> int:
        """Tokens that this try ran itself, and did not read from files of an earlier run: what its speed is measured on."""
        return self._all_tokens() - self._tokens_before - (self._backbone.spent.reused - self._reused_before)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def seconds_left(self) -> float:
        """Of a budget in seconds."""
        return max(0.0, (self.budget.seconds or 0.0) - self.seconds)

    @property
    def settled(self) -> bool:
        return self._allowance is not None

    def replay(self, tokens: int) -> None:
        """Counts tokens that an interrupted try had spent on what is now read from its trail."""
        self._replayed += tokens

    def settle(self, rate: float | None = None) -> None:
        """Fixes the allowance in tokens. Does nothing the second time.

        Settings:
            rate: tokens a second of the work to come; by default the speed since the start.
        """
        if self._allowance is None:
            assert self.budget.seconds is not None
            rate = max(1, self.tokens_run) / max(self.seconds, 1e-6) if rate is None else rate
            self.allow(max(1, self.tokens + int(rate * self.seconds_left)))

    def allow(self, tokens: int) -> None:
        """Fixes the allowance of a budget in seconds at so many tokens in all. Does nothing the second time."""
        if self._allowance is None:
            self._allowance = tokens
            self._trail.keep("plan", {"tokens": tokens})

    @property
    def used(self) -> float:
        """The share of the budget that is spent; 1 or more: exhausted."""
        if self._allowance is not None:
            return self.tokens / self._allowance
        assert self.budget.seconds is not None
        return self.seconds / self.budget.seconds

    def close(self) -> None:
        """Writes the share that was spent into the trail, so that a stage to follow may have the rest.

        In twentieths, rounded up: what a second try reads anew costs some tokens more or less than the first time.
        """
        if self._trail.kept("used") is None:
            self._trail.keep("used", {"share": min(1.0, math.ceil(20 * self.used) / 20)})

    @property
    def exhausted(self) -> bool:
        return self.used >= 1.0

    def allows(self, tokens: float) -> bool:
        """Whether so many more tokens are within the budget."""
        return self._allowance is None or self.tokens + tokens <= self._allowance

    @property
    def tokens_left(self) -> int | None:
        """Tokens that may still be spent; None before `settle`."""
        return None if self._allowance is None else max(0, self._allowance - self.tokens)
