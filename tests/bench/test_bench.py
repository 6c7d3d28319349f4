import pytest
from bench.bars import Bar, bars
from bench.figures import Figure, find, joint_rate, size, times_faster
from bench.flops import Decoder, causal, step
from bench.tables import bar_table, figure_tables, table

from bench import names

SMOLLM2 = Decoder(width=576, layers=30, heads=9, shared=3, depth=64, inner=1536, vocabulary=49152)


def test_the_median_and_the_spread_are_of_one_unit():
    figure = Figure("p", "n", "float32", (4.0, 2.0, 12.0), units=2)
    assert (figure.each, figure.spread, figure.rate) == (2.0, (1.0, 6.0), 0.5)


def test_the_share_of_the_floor_is_the_time_of_the_products_over_the_time_taken():
    figure = Figure("p", "n", "float32", (4.0,), flops=100e9)
    assert figure.share(50.0) == pytest.approx(0.5)
    assert figure.share(None) is None
    assert Figure("p", "n", "float32", (4.0,)).share(50.0) is None


def test_ratios_are_of_one_unit_and_unknown_where_something_was_not_measured():
    ours, theirs = Figure("p", "a", "float32", (2.0,), units=4), Figure("p", "b", "float32", (3.0,), units=1)
    assert times_faster(ours, theirs) == pytest.approx(6.0)
    assert times_faster(None, theirs) is None
    assert find([ours, theirs], "p", "b", "float32") is theirs
    assert find([ours, theirs], "p", "b", "bfloat16") is None


def test_the_joint_rate_weighs_products_by_their_time():
    assert joint_rate([1e9, 3e9], [0.5, 0.5]) == pytest.approx(4.0)


def test_a_position_costs_two_operations_for_each_weight_and_four_for_each_position_it_looks_at():
    weights = 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)
    assert SMOLLM2.forward(1, 0) == pytest.approx(2 * weights)
    assert SMOLLM2.forward(10, 7) - SMOLLM2.forward(10, 0) == pytest.approx(10 * 30 * 4 * 576 * 7)
    assert SMOLLM2.head(2) == 2 * 2 * 576 * 49152
    assert SMOLLM2.head(2, words=3) == 2 * 2 * 576 * 3


def test_a_step_goes_forward_and_back_toward_the_input():
    assert step(SMOLLM2, [(5, 3), (2, 1)], 1) == 2 * (SMOLLM2.forward(5, 3) + SMOLLM2.forward(2, 1) + SMOLLM2.head(1))


def test_new_positions_look_at_those_before_and_at_themselves():
    assert causal(10, 3) == (11 + 12 + 13) / 3


@pytest.mark.parametrize(
    ("bar", "verdict", "wanted"),
    [
        (Bar("a", 6.0, 6.0), "met", "6 x"),
        (Bar("a", 6.0, 5.9), "NOT met", "6 x"),
        (Bar("a", 4.0, 5.0, "s", most=True), "NOT met", "at most 4 s"),
        (Bar("a", 0.6, 0.5, "", most=True), "met", "at most 0.6"),
        (Bar("a", 0.6, None, "%"), "not measured", "60 %"),
    ],
)
def test_a_bar_says_whether_it_was_met(bar, verdict, wanted):
    assert (bar.verdict, bar.wanted) == (verdict, wanted)


def test_a_bar_for_bfloat16_is_not_called_met_by_figures_in_float32():
    figures = [
        Figure(names.SHORT, names.AFTER, "float32", (1.0,)),
        Figure(names.SHORT, names.PROMPT_TUNING, "float32", (20.0,)),
    ]
    found = {bar.text: bar for bar in bars(figures, {}, {})}
    half = found["training step, slot after cached text, short texts, against PEFT prompt tuning in bfloat16"]
    whole = found["training step, slot after cached text, short texts, against PEFT prompt tuning in float32"]
    assert (half.verdict, whole.verdict, whole.seen) == ("not measured", "met", 20.0)
    assert "20 x with both in float32" in half.note


def test_ours_is_measured_in_the_number_type_that_is_faster_here():
    figures = [
        Figure(names.SHORT, names.AFTER, "float32", (1.0,)),
        Figure(names.SHORT, names.AFTER, "bfloat16", (2.0,)),
        Figure(names.SHORT, names.PROMPT_TUNING, "bfloat16", (8.0,)),
    ]
    text = "training step, slot after cached text, short texts, against PEFT prompt tuning in bfloat16"
    for rates, seen in (({"float32": 300.0, "bfloat16": 150.0}, 8.0), ({"float32": 150.0, "bfloat16": 300.0}, 4.0)):
        assert next(bar for bar in bars(figures, rates, {}) if bar.text == text).seen == seen


def test_memory_is_a_share_of_the_peers():
    found = {bar.text: bar for bar in bars([], {}, {"memory pegbox": 300.0, "memory peft": 400.0, "cold predict": 3.0})}
    assert found["peak memory of a tuning run, as a share of PEFT's"].seen == pytest.approx(0.75)
    assert found["cold `pegbox predict` of one row, weights in cache"].verdict == "met"


def test_tables_are_markdown():
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n|---|---|\n| 1 | 2 |"
    shown = figure_tables([Figure("part", "n", "float32", (4.0,), flops=100e9)], {"float32": 50.0})
    assert shown.startswith("### part\n\n|  | number type | s for one step |")
    assert "| n | float32 | 4 | 4 | 4 | 0.25 | 50 % |  |" in shown
    assert "| a | 6 x | 5.9 x | NOT met |  |" in bar_table([Bar("a", 6.0, 5.9)])


def test_numbers_have_three_digits_that_count():
    assert [size(value) for value in (1234.5, 12.345, 1.2, 0.0456)] == ["1234", "12.3", "1.2", "0.046"]
