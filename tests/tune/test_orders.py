import numpy as np

from pegbox.data.rows import Rows
from pegbox.data.words import WordRows
from pegbox.tune.orders import batch_rows, drawn, drawn_groups, even_batch, first_groups, flat, grouped, shares, together
from pegbox.tune.parts import PASS, Lengths, parts

ROWS = WordRows(
    tuple({"text": f"t{of}", "word": str(at)} for at, of in enumerate((0, 0, 1, 2, 2, 2))), sentences=(0, 0, 1, 2, 2, 2)
)


def test_rows_without_sentences_are_drawn_one_by_one() -> None:
    rows = Rows.from_texts(list("abcdef"))
    assert together(rows) == [[0], [1], [2], [3], [4], [5]]
    assert drawn(rows, 1, 2) == np.random.default_rng((1, 2)).permutation(6).tolist()


def test_the_words_of_a_sentence_stay_together_and_in_order() -> None:
    groups = drawn_groups(ROWS, 5)
    assert sorted(groups) == [[0, 1], [2], [3, 4, 5]]
    assert drawn(ROWS, 5) == flat(groups)
    assert len({tuple(drawn(ROWS, seed)) for seed in range(99)}) == 6  # every order of three sentences


def test_a_batch_has_an_equal_share_of_each_stratum() -> None:
    strata = [[1, 4, 7], [0, 2, 3, 5, 6, 8, 9]]
    steps = [even_batch(step, 5, strata, seed=3) for step in range(14)]
    assert all(len(set(step) & set(strata[0])) == 3 and len(set(step) & set(strata[1])) == 2 for step in steps)
    read = flat(steps)
    assert [read.count(at) for at in strata[0]] == [14] * 3
    assert [read.count(at) for at in strata[1]] == [4] * 7
    assert even_batch(4, 3, [list(range(9))], seed=3) == batch_rows(4, 3, 9, seed=3)  # as ever, where there is one
    alone = [even_batch(step, 1, strata, seed=3)[0] for step in range(10)]
    assert sorted(alone) == list(range(10))  # a batch of one cannot be divided


def test_the_first_groups_are_those_that_so_many_steps_can_read() -> None:
    groups = [[2], [0, 1], [3, 4, 5], [6], [7]]
    assert first_groups(groups, [list(range(8))], steps=1, batch=3) == groups[:3]
    strata = [[0, 1, 6], [2, 3, 4, 5, 7]]
    assert grouped(strata, groups) == [[1, 3], [0, 2, 4]]
    assert first_groups(groups, strata, steps=1, batch=2) == [[2], [0, 1]]
    assert first_groups(groups, strata, steps=2, batch=2) == [[2], [0, 1], [3, 4, 5], [6]]
    assert first_groups(groups, strata, steps=2, batch=1) == groups[:2]
    assert shares(7, 3) == [3, 2, 2]


def test_a_long_batch_is_parted_between_sentences() -> None:
    half = PASS // 2
    lengths = Lengths([10] * 6, 0, ROWS.sentences, [half] * 6)
    found = parts([5, 0, 2, 3, 1, 4], lengths)
    assert sorted(map(sorted, found)) == [[0, 1], [2], [3, 4, 5]]
    assert parts([0, 1, 2], Lengths([10] * 6, 0, ROWS.sentences, [100] * 6)) == [[2, 0, 1]]
