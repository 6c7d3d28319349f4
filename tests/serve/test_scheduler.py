"""The running batch: fair, bounded, in time, and free of those who left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from pegbox.backbone import mixed
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.prompt.names import Name
from pegbox.serve.errors import BusyError, FailedError, GoneError, LateError, StoppingError
from pegbox.serve.scheduler import Scheduler
from pegbox.serve.served import Served
from pegbox.serve.settings import Limits
from pegbox.serve.work import Scoring
from pegbox.serve.writing import Wish, Writing


class Gate:
    """A meter that remembers the turns, and holds the model's thread at a closed gate between them."""

    def __init__(self) -> None:
        self.turns: list[tuple[int, int]] = []
        self.open = threading.Event()
        self.open.set()

    def turn(self, rows: int, tokens: int, seconds: float) -> None:
        self.turns.append((rows, tokens))
        self.open.wait(20)


class Desk:
    """A scheduler over the tiny model with two prompts."""

    def __init__(self, make_prompt: Any, limits: Limits) -> None:
        self.backbone, self.gate = HuggingFaceBackbone(tiny()), Gate()
        self.scheduler = Scheduler(self.backbone, limits, self.gate)
        made = (make_prompt(kind, self.backbone) for kind in ("soft", "words"))
        self.soft, self.words = (Served(Name("x", 1), one, self._standing(one)) for one in made)

    def _standing(self, tuned: Any) -> Any:
        words = tuned.predictor.task.words_in(tuned.prompt)
        return self.backbone.standing(tuned.prompt, [word for label in tuned.labels for word in words[label]])

    def score(self, served: Served, *texts: str, seconds: float = 20) -> Scoring:
        work = Scoring(served, Rows.from_texts(texts), seconds)
        self.scheduler.submit(work)
        return work


@pytest.fixture
def desk(make_prompt: Any) -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def start(**limits: Any) -> Desk:
        made.append(Desk(make_prompt, Limits(**limits)))
        made[-1].scheduler.start()
        return made[-1]

    yield start
    for one in made:
        one.gate.open.set()
        one.scheduler.stop(20)


def shut(one: Desk) -> None:
    """Closes the gate and lets one row through to it, so that what comes next waits together."""
    one.gate.open.clear()
    one.score(one.soft, "first")
    while not one.gate.turns:
        time.sleep(0.001)


def test_requests_of_different_prompts_share_a_turn(desk: Callable[..., Desk]) -> None:
    one = desk()
    shut(one)
    works = [one.score(served, f"text {n}") for n in range(3) for served in (one.soft, one.words)]
    one.gate.open.set()
    found = [work.future.result(20)[0] for work in works]
    assert [rows for rows, _ in one.gate.turns] == [1, 6]
    for n, served in enumerate((one.soft, one.words)):
        np.testing.assert_allclose(found[n], served.tuned.predict_proba(["text 0"]), atol=1e-4)


def test_a_small_request_does_not_wait_for_a_large_one(desk: Callable[..., Desk]) -> None:
    one = desk(batch_rows=4)
    shut(one)
    large = one.score(one.soft, *(f"text {n}" for n in range(40)))
    small = one.score(one.words, "a")
    turns: list[int] = []
    small.future.add_done_callback(lambda _: turns.append(len(one.gate.turns)))  # in the scheduler's thread, which waits for it
    one.gate.open.set()
    large.future.result(20)
    assert turns[0] <= 3 < len(one.gate.turns)


def test_long_texts_go_in_chunks_and_short_ones_pass_them_but_not_for_ever(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed, "CHUNK", 64)
    one = desk(turn_tokens=80, batch_rows=64)
    shut(one)
    ended: list[str] = []
    long = one.score(one.soft, "x" * 640)
    shorts = one.score(one.soft, *["y" * 8] * 40)
    for name, work in (("long", long), ("shorts", shorts)):
        work.future.add_done_callback(lambda _, name=name: ended.append(name))  # type: ignore[misc]
    quick = one.score(one.words, "z")
    one.gate.open.set()
    quick.future.result(20)
    assert ended == []
    assert len(one.gate.turns) < 12  # the long one takes eleven turns of its own
    long.future.result(20)
    shorts.future.result(20)
    assert all(tokens <= 80 for _, tokens in one.gate.turns)


def test_a_full_queue_is_told_with_a_time_to_come_again(desk: Callable[..., Desk]) -> None:
    one = desk(queue_rows=8, rows=8, batch_rows=1)
    shut(one)
    one.score(one.soft, *"abcdefgh")
    with pytest.raises(BusyError, match="8 rows are waiting") as told:
        one.score(one.soft, "i")
    assert 1 <= told.value.after <= 60


def test_deadlines_and_those_who_leave_free_their_places(desk: Callable[..., Desk]) -> None:
    one = desk(queue_rows=8, rows=8)
    shut(one)
    late = one.score(one.soft, *"abcd", seconds=0.01)
    gone = one.score(one.soft, *"efgh")
    gone.leave()
    time.sleep(0.02)
    one.gate.open.set()
    with pytest.raises(LateError, match=r"no answer within 0\.01 s"):
        late.future.result(20)
    with pytest.raises(GoneError):
        gone.future.result(20)
    assert one.score(one.soft, *"abcdefgh").future.result(20)[0].shape == (8, 2)
    assert [rows for rows, _ in one.gate.turns] == [1, 8]


def test_a_failing_turn_fails_its_requests_and_the_next_goes_on(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = desk()

    def broken(*_: object) -> int:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(one.backbone, "advance", broken)
        with pytest.raises(FailedError):
            one.score(one.soft, "a").future.result(20)
    assert one.score(one.soft, "a").future.result(20)[0].shape == (1, 2)


def test_stopping_ends_what_there_is_and_takes_no_more(desk: Callable[..., Desk]) -> None:
    one = desk()
    shut(one)
    work = one.score(one.soft, *"abc")
    stopper = threading.Thread(target=one.scheduler.stop)
    stopper.start()
    while one.scheduler.alive:
        time.sleep(0.001)
    with pytest.raises(StoppingError):
        one.score(one.soft, "d")
    one.gate.open.set()
    stopper.join(20)
    assert work.future.result(0)[0].shape == (3, 2)


def test_texts_are_written_beside_each_other_as_alone(desk: Callable[..., Desk]) -> None:
    one = desk()
    said: list[str] = []
    shut(one)
    works = [
        Writing(one.soft, Rows.from_texts(["a fine day"]), Wish(tokens=12), 20, said.append),
        Writing(one.words, Rows.from_texts(["dull"]), Wish(tokens=9), 20),
        Writing(one.words, Rows.from_texts(["dull"]), Wish(tokens=9, temperature=1.0, seed=3), 20),
    ]
    for work in works:
        one.scheduler.submit(work)
    one.gate.open.set()
    found = [work.future.result(20)[0] for work in works]
    one.scheduler.stop(20)
    for served, text, at in ((one.soft, "a fine day", 0), (one.words, "dull", 1)):
        alone = one.backbone.generate(served.tuned.prompt, Rows.from_texts([text]), max_tokens=works[at].wish.tokens)
        assert found[at].text == alone[0]
    assert "".join(said) == found[0].text
    assert found[0].read == len("Review: a fine day Mood:") + 5


def test_drawn_texts_depend_on_their_seed_alone_and_stop_where_told(desk: Callable[..., Desk]) -> None:
    one = desk()

    def write(seed: int, stop: tuple[str, ...] = (), beside: bool = False) -> Any:
        wish = Wish(tokens=20, temperature=1.5, seed=seed, stop=stop)
        work = Writing(one.soft, Rows.from_texts(["a"]), wish, 20)
        others = [one.score(one.words, f"{n}") for n in range(3)] if beside else []
        one.scheduler.submit(work)
        (found,) = work.future.result(20)
        assert all(other.future.result(20) for other in others)
        return found

    first = write(1)
    assert write(1, beside=True).text == first.text != write(2).text
    mark = first.text[5:7]
    cut = write(1, stop=(mark,))
    assert (cut.text, cut.reason) == (first.text[: first.text.index(mark)], "stop")
