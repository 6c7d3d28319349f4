import numpy as np

from pegbox.data.rows import Rows
from pegbox.data.words import WordRows
from pegbox.tune.orders import drawn, drawn_groups, flat, together
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


def test_a_long_batch_is_parted_between_sentences() -> None:
    half = PASS // 2
    lengths = Lengths([10] * 6, 0, ROWS.sentences, [half] * 6)
    found = parts([5, 0, 2, 3, 1, 4], lengths)
    assert sorted(map(sorted, found)) == [[0, 1], [2], [3, 4, 5]]
    assert parts([0, 1, 2], Lengths([10] * 6, 0, ROWS.sentences, [100] * 6)) == [[2, 0, 1]]
