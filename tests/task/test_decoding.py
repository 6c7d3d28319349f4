import itertools
import json

import numpy as np
import pytest

from pegbox.metrics.entities import is_valid
from pegbox.task.decoding import Grammar, kinds_of, tags_of_types

TYPES = ("O", "PER", "LOC")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SEEN = [["B-PER", "I-PER", "O"], ["O", "B-LOC"], ["B-PER", "I-PER", "O", "B-PER"]]


def test_the_tags_of_types() -> None:
    assert tags_of_types(TYPES) == TAGS
    assert kinds_of(TYPES).tolist() == [0, 1, 1, 2, 2]


def test_steps_are_counted_with_one_more_of_each_possible_one() -> None:
    grammar = Grammar.counted(TYPES, SEEN)
    # words by type: O 3, PER 5, LOC 1, and one more of each; possible first tags: O, B-PER, B-LOC, seen 1, 2, 0 times
    shares = {"O": 4 / 12, "PER": 6 / 12, "LOC": 2 / 12}
    first = {"O": 2 / 6, "B-PER": 3 / 6, "B-LOC": 1 / 6}
    for tag, chance in first.items():
        assert grammar.first[TAGS.index(tag)] == pytest.approx(np.log(chance / shares[tag.split("-")[-1]]))
    assert grammar.first[TAGS.index("I-PER")] == -np.inf
    # after B-PER: I-PER twice; possible are O, B-PER, I-PER, B-LOC
    after = grammar.after[TAGS.index("B-PER")]
    assert after[TAGS.index("I-PER")] == pytest.approx(np.log(3 / 6 / shares["PER"]))
    assert after[TAGS.index("O")] == pytest.approx(np.log(1 / 6 / shares["O"]))
    assert after[TAGS.index("I-LOC")] == -np.inf


def test_a_tag_of_an_unknown_type_is_passed_over() -> None:
    assert Grammar.counted(TYPES, [["B-X", "O"]]) == Grammar.counted(TYPES, [["O"]])


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_path_is_the_best_of_all_valid_ones(scale: float) -> None:
    counted = Grammar.counted(TYPES, SEEN)
    grammar = Grammar(counted.types, counted.first, counted.after, scale)
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores = np.log(rng.dirichlet([0.5] * 3, size=4))

        def total(path: tuple[int, ...], scores=scores) -> float:  # type: ignore[no-untyped-def]
            steps = [grammar.first[path[0]], *(grammar.after[a][b] for a, b in itertools.pairwise(path))]
            return float(sum(steps) + scale * sum(scores[at][(tag + 1) // 2] for at, tag in enumerate(path)))

        best = max(itertools.product(range(5), repeat=4), key=total)
        assert grammar.best(scores) == [TAGS[at] for at in best]


def test_scale_and_the_weight_of_o_are_those_that_find_most() -> None:
    grammar = Grammar.counted(TYPES, SEEN)
    gold = [["B-PER", "O"], ["O", "O"], ["O", "B-LOC"]]
    right = [
        np.log([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]]),
        np.log([[0.8, 0.1, 0.1]] * 2),
        np.log([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]),
    ]
    assert grammar.fitted(right, gold) == grammar  # nothing to gain
    shy = [scores + np.array([2.5, 0.0, 0.0]) for scores in right]
    fitted = grammar.fitted(shy, gold)
    assert fitted.other < 0
    assert [fitted.best(scores) for scores in shy] == gold


def test_no_sequence_is_ever_invalid() -> None:
    grammar = Grammar.counted(TYPES, SEEN)
    rng = np.random.default_rng(2)
    for words in (1, 2, 30):
        for _ in range(50):
            found = grammar.best(50 * rng.normal(size=(words, 3)))
            assert len(found) == words
            assert is_valid(found)


def test_a_grammar_is_the_same_after_json() -> None:
    grammar = Grammar.counted(TYPES, SEEN)
    assert Grammar.from_json(json.loads(json.dumps(grammar.to_json()))) == grammar
