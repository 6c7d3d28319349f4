"""Memory of what was asked of the model, so that an interrupted run, started again, ends where it would have ended."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pegbox.tune.budget import Meter
from pegbox.tune.trail import Trail


@dataclass
class Memo:
    """Answers to costly questions, or those that an interrupted try had got; their tokens count either way."""

    meter: Meter
    trail: Trail
    _timed: list[tuple[int, float]] = field(default_factory=list)
    _last: int = 0

    def recall(self, key: str, compute: Callable[[], Any]) -> Any:
        """What `compute` finds, in plain JSON."""
        kept = self.trail.kept(key)
        if kept is None:
            before, run, began = self.meter.tokens, self.meter.tokens_run, time.monotonic()
            value, took = compute(), time.monotonic() - began
            kept = {"value": value, "tokens": self.meter.tokens - before, "run": self.meter.tokens_run - run, "took": took}
            self.trail.keep(key, kept)
        else:
            self.meter.replay(int(kept["tokens"]))
        self._last = int(kept["tokens"])
        self._timed.append((int(kept["run"]), float(kept["took"])))
        return kept["value"]

    def ask(self, key: str, compute: Callable[[], NDArray[np.floating]]) -> NDArray[np.float64]:
        """The array that `compute` finds, to the bit in float32."""
        return unpacked(self.recall(key, lambda: packed(compute())))

    def knows(self, key: str) -> bool:
        """Whether an interrupted try had got this answer."""
        return self.trail.kept(key) is not None

    def uncounted(self, work: Callable[[], object]) -> None:
        """Does work that an interrupted try had already paid for."""
        before = self.meter.tokens
        work()
        self.meter.replay(before - self.meter.tokens)

    @property
    def last(self) -> int:
        """Tokens that the latest answer took."""
        return self._last

    @property
    def rate(self) -> float:
        """Tokens run in a second, without the first answer, which also warms the machine up."""
        timed = self._timed[1:] or self._timed
        return sum(tokens for tokens, _ in timed) / max(1e-6, sum(took for _, took in timed))


def packed(numbers: NDArray[np.floating]) -> dict[str, Any]:
    """An array as plain JSON, exact in float32."""
    found = np.asarray(numbers, dtype=np.float32)
    return {"numbers": base64.b64encode(found.tobytes()).decode(), "shape": list(found.shape)}


def unpacked(kept: Mapping[str, Any]) -> NDArray[np.float64]:
    """The inverse of `packed`."""
    numbers = np.frombuffer(base64.b64decode(kept["numbers"]), dtype=np.float32)
    return numbers.reshape(kept["shape"]).astype(np.float64)
