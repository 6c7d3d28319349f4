"""What the recommendation says in each case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pegbox.evaluate.recommend import Recommendation, recommend
from pegbox.evaluate.record import Comparison, Cost
from pegbox.evaluate.summary import summarise


def advise(comparison: Comparison) -> Recommendation:
    return recommend(summarise(comparison, 1000, 50), comparison.settings)


def topic(found: Recommendation, start: str) -> str:
    return next(one.text for one in found.advice if one.topic.startswith(start))


def test_a_winner(rich_comparison: Comparison) -> None:
    found = advise(rich_comparison)
    assert found.use == "hybrid"
    assert found.verdict == "hybrid wins: 93.0% of 200 test rows right."
    assert found.evidence.startswith("It is 22.5 points ahead of search (95% interval ")
    assert (
        "p < 0.001 after correction), and further ahead of the others: a difference that chance does not explain."
        in found.evidence
    )
    assert found.choice == ""
    assert found.warnings == ()


def test_advice_names_what_was_measured(rich_comparison: Comparison) -> None:
    found = advise(rich_comparison)
    readable = topic(found, "If people must read")
    assert readable.startswith("use search (70.5%), 22.5 points behind hybrid (95% interval ")
    assert "told apart). Its prompt is all words. Its score was measured on tiny" in readable
    latency = topic(found, "If latency")
    assert latency.startswith("the best takes 12.0 ms a row (hybrid); tfidf takes 0.40 ms and is 30.5 points behind hybrid")
    labels = topic(found, "If labels are few")
    assert labels.startswith("all methods here learned from 50 labelled rows; how they do with fewer was not measured.")
    assert "zero-shot needs no labels and reaches 55.0%" in labels


def test_nothing_wins(make_cell: Any, make_comparison: Any, first: Any) -> None:
    cells = [make_cell("zero-shot", first(150, 200), prompt="p", readable=True)]
    cells += [make_cell("hybrid", first(152, 200), s, "hybrid", prompt="p") for s in (0, 1, 2)]
    found = advise(make_comparison(*cells))
    assert found.verdict == "Nothing wins: hybrid and zero-shot cannot be told apart on 200 test rows (75.0 to 76.0% right)."
    assert "which may well be chance. Differences below about " in found.evidence
    assert found.use == "hybrid"  # 1.41 standard errors ahead: two rows of 200, all one way
    assert found.choice == "Use hybrid: nothing simpler comes within one standard error of it."
    assert found.warnings == (
        "The simple baseline holds: no tuned prompt is surely better than the written one, zero-shot (75.0%); "
        "tuning bought nothing that these rows can show.",
    )


def test_the_simple_baseline_wins(make_cell: Any, make_comparison: Any, first: Any) -> None:
    # 20 rows gained, 19 lost: one row ahead, far less than a standard error.
    tuned = first(150, 200)
    tuned[0:19] = False
    tuned[150:170] = True
    cells = [make_cell("zero-shot", first(150, 200), prompt="p"), make_cell("soft", tuned, 0, "soft", prompt="p")]
    found = advise(make_comparison(*cells))
    assert found.use == "zero-shot"
    assert found.choice == (
        "The simple baseline is enough. Use zero-shot: it is the simplest method within one standard error of soft, "
        "the most accurate."
    )


def test_a_reference_beats_all_prompts(make_cell: Any, make_comparison: Any, first: Any) -> None:
    found = advise(make_comparison(make_cell("tfidf", first(190, 200)), make_cell("zero-shot", first(100, 200), prompt="p")))
    assert found.warnings[0].startswith(
        "A prompt is not the best tool here: tfidf, which uses none, is 45.0 points ahead of the best prompt, zero-shot ("
    )
    assert found.warnings[0].endswith("Use a prompt only for other reasons.")


def test_a_reference_level_with_the_best_prompt(make_cell: Any, make_comparison: Any, first: Any) -> None:
    found = advise(
        make_comparison(make_cell("lora", first(191, 200), 0), make_cell("soft", first(190, 200), 0, "soft", prompt="p"))
    )
    assert found.warnings[0].startswith(
        "lora uses no prompt and has the highest average, 0.5 points ahead of the best prompt, soft"
    )
    assert found.warnings[0].endswith("the two cannot be told apart.")


def test_nothing_beats_the_most_frequent_answer(make_cell: Any, make_comparison: Any, first: Any) -> None:
    found = advise(
        make_comparison(make_cell("majority", first(100, 200)), make_cell("soft", first(101, 200), 0, "soft", prompt="p"))
    )
    assert found.warnings[0].startswith("Nothing here is surely better than always giving the most frequent answer")


def test_two_that_are_level_are_said_to_be(make_cell: Any, make_comparison: Any, first: Any) -> None:
    other = first(100, 200)
    other[99], other[100] = False, True
    found = advise(make_comparison(make_cell("soft", first(100, 200), kind="soft"), make_cell("search", other, kind="hard")))
    assert found.evidence.startswith("soft is level with search (95% interval ")
    assert "-0.0" not in str(found)


def test_an_end_at_nothing_has_no_sign(make_cell: Any, make_comparison: Any, first: Any) -> None:
    # One row ahead, so that about a third of the resamples draw no row that differs: the interval's end is 0 exactly.
    found = advise(
        make_comparison(make_cell("soft", first(51, 100), kind="soft"), make_cell("search", first(50, 100), kind="hard"))
    )
    assert "1.0 point ahead of search (95% interval 0.0 to " in found.evidence


def test_too_few_rows_to_find_anything(make_cell: Any, make_comparison: Any, first: Any) -> None:
    # Two rows that differ by one: the standard error of the difference is 1/2 with one degree of freedom, times 12.7 + 1.4.
    found = advise(make_comparison(make_cell("soft", first(1, 2), kind="soft"), make_cell("search", first(0, 2), kind="hard")))
    assert "With so few rows and seeds no difference at all is usually found." in found.evidence


def test_one_seed_is_said_to_be_one(make_cell: Any, make_comparison: Any, first: Any) -> None:
    cells = [make_cell("soft", first(190, 200), 0, "soft", prompt="p"), make_cell("zero-shot", first(100, 200), prompt="p")]
    found = advise(make_comparison(*cells))
    assert found.verdict.startswith("soft wins")
    assert found.evidence.endswith(
        "One seed was run of soft: this speaks of what that seed gave, not of what another would give."
    )
    fixed = advise(make_comparison(*[replace(cell, seed=-1) for cell in cells]))
    assert "One seed was run" not in fixed.evidence


@pytest.mark.parametrize(("rival", "said"), [(130, "It is 30.0 points ahead"), (189, "which may well be chance")])
def test_one_seed_is_said_though_others_have_several(
    rival: int, said: str, make_cell: Any, make_comparison: Any, first: Any
) -> None:
    """The demo: three seeds for the quick references, one for what tunes."""
    cells = [make_cell("majority", first(60, 200), s, spends=False) for s in (0, 1, 2)]
    cells += [make_cell("zero-shot", first(100, 200), s, prompt="p", spends=False) for s in (0, 1, 2)]
    cells += [make_cell("soft", first(190, 200), 0, "soft"), make_cell("search", first(rival, 200), 0, "hard")]
    found = advise(make_comparison(*cells))
    assert said in found.evidence
    assert found.evidence.endswith(
        "One seed was run of soft and search: this speaks of what that seed gave, not of what another would give."
    )


def test_several_seeds_need_no_such_warning(rich_comparison: Comparison) -> None:
    assert "One seed was run" not in advise(rich_comparison).evidence


def test_equal_answers_win_together(make_cell: Any, make_comparison: Any, first: Any) -> None:
    cells = [make_cell("search", first(190, 200), kind="hard"), make_cell("zero-shot", first(190, 200), prompt="p")]
    both = advise(make_comparison(*cells, make_cell("tfidf", first(100, 200))))
    assert both.verdict == "search and zero-shot win together, with the same right answers: 95.0% of 200 test rows right."
    assert both.evidence.startswith("They are 45.0 points ahead of tfidf")
    assert both.choice == "Use zero-shot, the simplest of them."
    alone = advise(make_comparison(*cells))
    assert (
        alone.verdict
        == "No difference: search and zero-shot gave right answers on exactly the same rows (95.0% of 200 test rows right)."
    )


def test_ahead_but_no_winner(make_cell: Any, make_comparison: Any, first: Any) -> None:
    # 10 rows gained and 2 lost: p = 158 / 4096 = 0.039, below 0.05 but not below 0.025.
    ahead = first(100, 200)
    ahead[:2], ahead[100:110] = False, True
    found = advise(make_comparison(make_cell("a", ahead), make_cell("b", first(100, 200))))
    assert found.verdict == "a is ahead with 54.0% of 200 test rows right, but not surely enough to be called the winner."
    assert (
        "p = 0.039 after correction); to be called the winner it would need p < 0.025 against every other method."
        in found.evidence
    )


def test_one_method_alone(make_cell: Any, make_comparison: Any, first: Any) -> None:
    found = advise(make_comparison(make_cell("soft", first(3, 4), 0, "soft", prompt="p")))
    assert found.verdict == "Only soft was run: 75.0% of 4 test rows right. There is nothing to compare it with."
    assert found.evidence.startswith("The 95% interval is ")
    assert topic(found, "If people") == "no method here has a prompt of words alone; compare search or few-shot too."
    assert topic(found, "If latency") == "prediction times were not measured, so this comparison cannot say."
    assert (
        topic(found, "If labels")
        == "all methods here learned from the same labelled rows; how they do with fewer was not measured."
    )


def test_the_fastest_of_the_top_group(make_cell: Any, make_comparison: Any, first: Any) -> None:
    cells = [
        make_cell("soft", first(150, 200), 0, "soft", cost=Cost(predict_ms_1=9.0)),
        make_cell("hybrid", first(151, 200), 0, "hybrid", cost=Cost(predict_ms_1=4.0)),
    ]
    assert topic(advise(make_comparison(*cells)), "If latency") == "use hybrid: 4.0 ms a row, which is also the most accurate."


@pytest.mark.parametrize("part", ["verdict", "evidence"])
def test_the_whole_text_holds_every_part(rich_comparison: Comparison, part: str) -> None:
    found = advise(rich_comparison)
    assert getattr(found, part) in str(found)
    assert all(one.text in str(found) for one in found.advice)
