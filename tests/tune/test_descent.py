"""Gradient descent over variants: what it learns, keeps, spends, notices and says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError, PromptError
from pegbox.prompt import Prompt, SoftSlot, parse
from pegbox.task.classification import BoundClassification, Classification
from pegbox.tune.budget import Budget
from pegbox.tune.descent import Descent
from pegbox.tune.orders import batch_rows
from pegbox.tune.schedule import Costs, Schedule
from pegbox.tune.soft import Soft
from pegbox.tune.start import root_mean_square
from pegbox.tune.trail import Trail

Moods = Callable[[int, int], Rows]
PROMPT = parse(r"Sort.\nDay: {text}\nMood: [answer]")
TASK = Classification(("bad", "good"))


@pytest.fixture
def backbone(tiny_backbone: HuggingFaceBackbone) -> HuggingFaceBackbone:
    tiny_backbone.forget()
    return tiny_backbone


def tuned(method: Soft, backbone: HuggingFaceBackbone, moods: Moods, **changes: Any) -> tuple[Prompt, Trail]:
    trail = changes.pop("trail", None) or Trail()
    given: dict[str, Any] = {
        "prompt": PROMPT,
        "task": TASK,
        "backbone": backbone,
        "train": moods(48, 1),
        "dev": moods(24, 2),
        "budget": Budget(tokens=10**9),
        "rng": np.random.default_rng(0),
        **changes,
    }
    return method.tune(**given, trail=trail), trail


def soft(steps: int | None = None, rates: tuple[float, ...] = (0.1,), **schedule: Any) -> Soft:
    """A random model's vocabulary has nothing to teach: the labels alone are quicker here."""
    return Soft(length=4, place="after", schedule=Schedule(learning_rates=rates, steps=steps, loss="labels", **schedule))


def test_starts_are_variants_of_one_run_and_are_thinned_out(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    found, trail = tuned(soft(8, (0.1, 0.3), starts=2), backbone, moods)
    assert not found.open_slots
    steps = trail.of("step")
    assert sorted(event["variant"] for event in steps if event["step"] == 1) == [0, 1, 2, 3]
    assert len([event for event in steps if event["step"] == 8]) == 1
    rates = {event["variant"]: event["learning_rate"] for event in trail.of("dropped")}
    assert len(rates) == 3
    assert all(rate == (0.1, 0.3)[variant % 2] for variant, rate in rates.items())


def notes(trail: Trail) -> list[str]:
    return [event["text"] for event in trail.of("note")]


def vectors_in(prompt: Prompt) -> dict[str, Any]:
    return {name: slot.vectors for name, slot in prompt.slots.items() if isinstance(slot, SoftSlot)}


def dev_loss(prompt: Prompt, backbone: HuggingFaceBackbone, rows: Rows) -> float:
    scores = TASK.bind(prompt, backbone, rows).log_probabilities()[0]
    return float(-scores[np.arange(len(rows)), TASK.gold(rows)].mean())


# --- batches ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "batch"), [(10, 3), (7, 7), (5, 1), (12, 5), (3, 8), (16, 16), (9, 4)])
def test_every_row_comes_once_in_each_epoch(rows: int, batch: int) -> None:
    size = min(rows, batch)
    steps = [batch_rows(step, batch, rows, seed=5) for step in range(4 * rows)]
    assert {len(step) for step in steps} == {size}
    stream = [row for step in steps for row in step]
    for epoch in range(len(stream) // rows):
        assert sorted(stream[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


def test_batches_are_known_from_the_seed_and_the_step() -> None:
    assert batch_rows(7, 4, 30, seed=1) == batch_rows(7, 4, 30, seed=1)
    assert [batch_rows(step, 30, 30, seed=1) for step in (0, 1)] != [batch_rows(0, 30, 30, seed=1)] * 2  # a new order
    assert batch_rows(0, 30, 30, seed=1) != batch_rows(0, 30, 30, seed=2)


# --- a step, by an independent optimiser --------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["labels", "vocabulary"])
def test_steps_are_those_of_adamw_with_clipping_warm_up_and_decay(
    backbone: HuggingFaceBackbone, moods: Moods, loss: Any
) -> None:
    """The same three steps with PyTorch's own optimiser, scheduler and clipping."""
    sizes: dict[str, Any] = {"steps": 3, "batch": 4, "evaluations": 3}
    schedule = Schedule(learning_rates=(0.1,), warmup=0.34, clip=0.05, weight_decay=0.2, loss=loss, **sizes)
    train, dev = moods(9, 1), moods(6, 2)
    prompt = parse(r"{text}[soft after 2]\nMood: [answer]")
    start = backbone.embed(backbone.encode("ok"))[None]
    scale = root_mean_square(backbone.vocabulary()[0])
    descent = Descent(
        schedule,
        prompt,
        prompt,
        {"after": torch.zeros(1, 2, 64)},
        lambda p: {"after": start + scale * p["after"]},
        TASK,
        backbone,
        Trail(),
    )
    found = vectors_in(descent.run(train, dev, Budget(tokens=10**9), seed=3))

    moved = torch.zeros(1, 2, 64, requires_grad=True)
    optimiser = torch.optim.AdamW([moved], lr=0.1, weight_decay=0.2)
    order = np.random.default_rng([3, 1]).permutation(9)
    bound = TASK.bind(prompt, backbone, train.take([int(at) for at in order]), loss)
    judge = TASK.bind(prompt, backbone, dev)
    best = (math.inf, np.zeros(0))
    for step, share in enumerate((1.0, 1.0, 0.5)):  # one step of warm-up, then (1 + cos(pi * 0/2)) / 2 and pi * 1/2
        optimiser.param_groups[0]["lr"] = 0.1 * share
        optimiser.zero_grad()
        bound.losses(batch_rows(step, 4, 9, 3), {"after": start + scale * moved}).mean().backward()
        torch.nn.utils.clip_grad_norm_([moved], 0.05)
        optimiser.step()
        vectors = (start + scale * moved).detach()
        seen = float(judge.losses(range(6), {"after": vectors}).mean())
        best = min(best, (seen, vectors[0].numpy()), key=lambda pair: pair[0])
    np.testing.assert_allclose(found["after"], best[1], atol=2e-6)


def test_variants_that_share_a_pass_do_not_feel_each_other(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    _, together = tuned(soft(8, (0.03, 0.3), evaluations=1), backbone, moods)
    for variant, rate in enumerate((0.03, 0.3)):
        _, alone = tuned(soft(8, (rate,), evaluations=1), backbone, moods)
        shared = {event["step"]: event["loss"] for event in together.of("step") if event["variant"] == variant}
        own = {event["step"]: event["loss"] for event in alone.of("step")}
        assert len(shared) >= 2  # until the worse one is dropped
        for step, loss in shared.items():
            assert loss == pytest.approx(own[step], abs=1e-4)


# --- what comes of it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["after", "first", "both"])
def test_it_learns_what_can_be_learned(backbone: HuggingFaceBackbone, moods: Moods, place: Any) -> None:
    method = Soft(length=4, place=place, schedule=Schedule(learning_rates=(0.1,), steps=30, evaluations=5, loss="labels"))
    prompt, trail = tuned(method, backbone, moods)
    looks = trail.of("dev")
    assert looks[-1]["loss"] < 0.5 * looks[0]["loss"]
    assert dev_loss(prompt, backbone, moods(60, 9)) < 0.5
    assert not prompt.open_slots


def test_the_best_step_is_kept(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    prompt, trail = tuned(soft(24, (1.0,), patience=24, evaluations=24), backbone, moods, train=moods(4, 1))
    looks = {event["step"]: event["loss"] for event in trail.of("dev")}
    best = min(looks, key=lambda step: looks[step])
    assert trail.of("best")[-1]["step"] == best
    assert best < 24  # else this test would show nothing: the last step is not the best one here
    assert dev_loss(prompt, backbone, moods(24, 2)) == pytest.approx(looks[best], abs=1e-5)


def test_a_prompt_never_leaves_worse_on_dev_than_it_came(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    start, _ = tuned(soft(30, (0.1,)), backbone, moods)
    opposite = moods(48, 1)
    assert opposite.labels is not None
    turned = replace(opposite, labels=tuple("bad" if label == "good" else "good" for label in opposite.labels))
    prompt, trail = tuned(soft(10, (0.3,)), backbone, moods, prompt=start, train=turned)
    assert prompt == start  # to the bit
    assert "no step was better on dev than the start, which was kept" in notes(trail)
    assert trail.of("best")[-1]["step"] == 0


def test_a_filled_slot_is_where_tuning_goes_on(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    start, first = tuned(soft(20), backbone, moods)
    _, second = tuned(soft(5), backbone, moods, prompt=start)
    assert second.of("dev")[0]["loss"] == pytest.approx(first.of("best")[-1]["loss"], abs=1e-5)


def test_the_frozen_weights_stay_as_they_are(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    before = backbone.weights_digest()
    tuned(soft(3), backbone, moods)
    assert backbone.weights_digest() == before
    assert all(weights.grad is None for weights in backbone.loaded.model.parameters())


# --- what is noticed ----------------------------------------------------------------------------------------------------


def test_variants_are_thinned_on_schedule_and_the_best_goes_on(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    _, trail = tuned(soft(16, (1e-4, 0.1, 1e-5), evaluations=4), backbone, moods)
    alive = [sum(event["step"] == step for event in trail.of("step")) for step in range(1, 17)]
    assert alive == [3] * 4 + [2] * 4 + [1] * 8
    assert {event["variant"] for event in trail.of("step")[-8:]} == {1}
    dropped = [(event["variant"], event["step"]) for event in trail.of("dropped")]
    assert dropped == [(2, 4), (0, 8)]  # the slowest first
    assert notes(trail) == []


@pytest.mark.parametrize("kind", ["some", "all"])
def test_numbers_that_are_none_end_a_variant_and_are_said(backbone: HuggingFaceBackbone, moods: Moods, kind: str) -> None:
    rates = (0.1, 1e39) if kind == "some" else (1e39,)
    prompt, trail = tuned(soft(12, rates), backbone, moods)
    assert "diverged: learning rate 1e+39, at step" in notes(trail)[0]
    assert all(math.isfinite(event["loss"]) for event in trail.of("dev") if event["variant"] == 0 and kind == "some")
    if kind == "some":
        assert trail.of("best")[-1]["variant"] == 0
        assert len(trail.of("step")) > 12
    else:
        assert "every variant has diverged" in notes(trail)
        assert trail.of("best")[-1]["step"] == 0
    assert all(np.isfinite(vectors).all() for vectors in vectors_in(prompt).values())


def test_a_loss_that_grows_far_beyond_the_start_is_said(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    """Trained on turned labels with a huge learning rate, from a start that is nearly right."""
    start, first = tuned(soft(30, (0.1,)), backbone, moods)
    assert first.of("best")[-1]["loss"] < 0.4
    rows = moods(48, 1)
    assert rows.labels is not None
    turned = replace(rows, labels=tuple("bad" if label == "good" else "good" for label in rows.labels))
    _, trail = tuned(soft(20, (3.0,), patience=20), backbone, moods, prompt=start, train=turned)
    assert trail.of("dev")[-1]["loss"] > 1.5 * math.log(2)
    said = [note for note in notes(trail) if note.startswith("diverged: learning rate 3, dev loss ")]
    assert len(said) == 1
    assert said[0].endswith(f"after {trail.of('dev')[0]['loss']:.2f} at the start")


def test_a_dead_prompt_is_said(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    _, trail = tuned(soft(6, (1e-12,), patience=6), backbone, moods)
    assert "dead prompt: after 6 steps no dev row's scores have changed" in notes(trail)
    assert not any(note.startswith("no step was better") for note in notes(trail))


def test_an_early_stop_is_said(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    rng = np.random.default_rng(0)
    noise = Rows.from_texts([f"day {n}" for n in range(48)], [("bad", "good")[at] for at in rng.integers(0, 2, 48)])
    _, trail = tuned(soft(48, (0.3,), patience=2, evaluations=12), backbone, moods, train=noise)
    last = max(event["step"] for event in trail.of("step"))
    assert last < 48
    assert f"stopped early at step {last} of 48: the dev loss no longer falls" in notes(trail)


def test_a_start_that_gives_no_numbers_is_an_error(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    prompt = parse("{text}[soft after 2] [answer]")
    descent = Descent(
        Schedule(steps=2, learning_rates=(0.1,)),
        prompt,
        prompt,
        {"after": torch.zeros(1, 2, 64)},
        lambda p: {"after": p["after"] * math.nan},
        TASK,
        backbone,
        Trail(),
    )
    with pytest.raises(BackboneError, match="scores of tiny that are not numbers"):
        descent.run(moods(9, 1), moods(6, 2), Budget(tokens=10**9), seed=0)


def test_no_dev_rows_are_an_error(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    with pytest.raises(PromptError, match="no rows to bind"):
        tuned(soft(2), backbone, moods, dev=Rows((), ()))


def test_texts_that_were_cut_are_said(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    long = Rows.from_texts(["x" * 3000, *moods(7, 1).column()], moods(8, 1).labels)
    _, trail = tuned(soft(1, batch=8), backbone, moods, train=long)
    assert "1 of 8 training texts were cut to the model's context" in notes(trail)


# --- the budget ---------------------------------------------------------------------------------------------------------


def ragged(count: int) -> Rows:
    """Rows of very different lengths: an estimate from a few of them is wrong."""
    texts = [("fine " if n % 2 else "dull ") * (1 + 60 * (n % 7 == 0)) + str(n) for n in range(count)]
    return Rows.from_texts(texts, [("bad", "good")[n % 2] for n in range(count)])


@pytest.mark.parametrize("place", ["after", "first"])
@pytest.mark.parametrize("tokens", [6_000, 20_000])
def test_a_budget_in_tokens_is_never_overshot_by_more_than_a_step(moods: Moods, tokens: int, place: Any) -> None:
    backbone = HuggingFaceBackbone(tiny())
    before = backbone.spent.forward + backbone.spent.backward
    method = Soft(length=4, place=place, schedule=Schedule(learning_rates=(0.1, 0.3), batch=8, most_steps=60, dev_rows=12))
    _, trail = tuned(method, backbone, moods, train=ragged(70), budget=Budget(tokens=tokens))
    spent = backbone.spent.forward + backbone.spent.backward - before
    at = [event["tokens"] for event in trail.of("step")]
    dearest = max((b - a for a, b in itertools.pairwise(at)), default=0)
    assert spent <= tokens + dearest


def test_a_look_that_reads_many_labels_words_is_paid_for(moods: Moods) -> None:
    """A step reads the right label's word, a look the tree of all thirty; both within the budget, and most of it used."""
    names = [f"{one} {other}" for one in ("add", "book", "call", "find", "play") for other in ("a", "b", "c", "d", "e", "f")]
    rows = Rows.from_texts([f"we {names[n % 30]} now {n}" for n in range(90)], [names[n % 30] for n in range(90)])
    backbone, trail = HuggingFaceBackbone(tiny()), Trail()
    before = backbone.spent.forward + backbone.spent.backward
    method = Soft(length=4, place="first", schedule=Schedule(learning_rates=(0.1,), batch=8, dev_rows=16, patience=99))
    given = {"task": Classification(tuple(sorted(names))), "train": rows, "dev": rows.take(range(30)), "trail": trail}
    tuned(method, backbone, moods, budget=Budget(tokens=60_000), **given)
    assert 0.6 * 60_000 < backbone.spent.forward + backbone.spent.backward - before <= 60_000
    assert len(trail.of("dev")) >= 4


def test_most_of_a_budget_is_used(moods: Moods) -> None:
    backbone = HuggingFaceBackbone(tiny())
    before = backbone.spent.forward + backbone.spent.backward
    tuned(soft(rates=(0.1, 0.3, 1.0), patience=99), backbone, moods, budget=Budget(tokens=40_000))
    assert 0.9 * 40_000 < backbone.spent.forward + backbone.spent.backward - before <= 40_000


def test_a_budget_too_small_for_a_step_leaves_the_prompt_as_it_was_and_says_so(
    backbone: HuggingFaceBackbone, moods: Moods
) -> None:
    prompt, trail = tuned(soft(rates=(0.1, 0.3)), backbone, moods, budget=Budget(tokens=100))
    assert notes(trail) == ["the budget was spent before the first step; the prompt stays as it was"]
    assert trail.of("step") == []
    assert prompt == PROMPT


def test_without_a_step_slots_that_were_written_open_are_filled(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    written = parse(r"{text}[soft mine 3]\nMood: [answer]")
    prompt, _ = tuned(soft(rates=(0.1, 0.3)), backbone, moods, prompt=written, budget=Budget(tokens=100))
    assert not prompt.open_slots
    assert vectors_in(prompt)["mine"].shape == (3, 64)


def test_vectors_that_do_not_beat_the_prompt_without_them_are_left_out(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    good, _ = tuned(soft(30, (0.1,)), backbone, moods)
    harmful = parse(r"Sort.\nDay: {text}[soft far 4]\nMood: [answer]")
    descent = Descent(
        Schedule(steps=1, learning_rates=(1e-6,)),
        good,
        harmful,
        {"far": torch.zeros(1, 4, 64)},
        lambda p: {"far": p["far"] + 3.0},
        TASK,
        backbone,
        trail := Trail(),
    )
    assert descent.run(moods(48, 1), moods(24, 2), Budget(tokens=10**9), seed=0) == good
    assert "the vectors do not beat the prompt without them, which is kept" in notes(trail)[-1]


def test_a_budget_that_ends_the_run_is_said(backbone: HuggingFaceBackbone, moods: Moods) -> None:
    _, trail = tuned(soft(rates=(0.1,)), backbone, moods, budget=Budget(tokens=5_000))
    steps = trail.of("plan")[0]["steps"]
    assert 0 < steps < 20
    assert f"the budget allows only {steps} steps; expect little from them" in notes(trail)
    assert any(note.startswith(f"the budget is spent: it allowed {steps} steps") for note in notes(trail))
    _, trail = tuned(soft(steps=500), backbone, moods, budget=Budget(tokens=5_000))
    assert notes(trail)[0] == f"the budget allows only {trail.of('plan')[0]['steps']} of the 500 steps that were asked for"


def test_a_budget_in_seconds_is_planned_by_the_seconds_of_readings_and_steps(
    moods: Moods, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading 16 rows takes 0.8 s, and a pass 0.1 s and 0.05 s for each variant, whatever their tokens are."""
    backbone, now = HuggingFaceBackbone(tiny()), [0.0]
    read: list[BoundClassification] = []
    monkeypatch.setattr("pegbox.tune.descent.time.monotonic", lambda: now[0])
    losses = BoundClassification.losses

    def slow(bound: BoundClassification, index: Any, vectors: dict[str, torch.Tensor]) -> torch.Tensor:
        now[0] += 0.1 + 0.05 * len(vectors["after"])
        if not any(bound is one for one in read):
            read.append(bound)
            now[0] += 0.8
        return losses(bound, index, vectors)

    monkeypatch.setattr(BoundClassification, "losses", slow)
    method = soft(None, (0.1, 0.3), patience=10_000)
    _, trail = tuned(method, backbone, moods, budget=Budget(seconds=20.0))
    steps = trail.of("plan")[0]["steps"]
    look, row = 0.2 / 2 / 2 / 8, 0.8 / 16
    looked = method.schedule.looked(20 - 2.35, 2, look, 24)
    costs = Costs(0.05, look * looked, row, row * looked, 2 * looked * (look + row), fixed=0.1)
    spent = 1.0 + 0.2 + 0.15 + 1.0
    assert steps == costs.affordable(20 - spent, method.schedule, 2, [48]) > 50
    assert trail.of("step")[-1]["step"] == steps  # as many tokens are allowed as that takes


def test_a_budget_in_seconds_is_about_kept(moods: Moods) -> None:
    import time

    backbone = HuggingFaceBackbone(tiny())
    began = time.monotonic()
    _, trail = tuned(soft(rates=(0.1,), patience=10_000), backbone, moods, budget=Budget(seconds=1.0))
    assert time.monotonic() - began < 6  # busy machines are slow; without a budget it would be 1,000 steps
    assert trail.of("plan")[0]["steps"] < 1000
    assert trail.kept("plan")["tokens"] > 0


def test_the_same_call_twice_gives_the_same_prompt(moods: Moods) -> None:
    """Although what the first call had kept of the rows would make the second one cheaper."""
    one = tuned(soft(rates=(0.1,)), HuggingFaceBackbone(tiny()), moods, budget=Budget(tokens=12_000))[0]
    backbone = HuggingFaceBackbone(tiny())
    first = tuned(soft(rates=(0.1,)), backbone, moods, budget=Budget(tokens=12_000))[0]
    backbone.forget()
    second = tuned(soft(rates=(0.1,)), backbone, moods, budget=Budget(tokens=12_000))[0]
    assert one == first == second


def test_tokens_in_the_trail_are_those_of_this_run(moods: Moods) -> None:
    backbone = HuggingFaceBackbone(tiny())
    tuned(soft(3), backbone, moods)
    backbone.forget()
    before = backbone.spent.forward + backbone.spent.backward
    _, trail = tuned(soft(3), backbone, moods)
    assert trail.of("step")[-1]["tokens"] <= backbone.spent.forward + backbone.spent.backward - before
