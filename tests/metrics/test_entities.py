import numpy as np
import pytest

from pegbox.metrics.entities import entities, entity_sums, invalid_sums, is_valid, tags_of
from pegbox.metrics.measures import measure, overall

KINDS = ("PER", "LOC")


def random_tags(rng: np.random.Generator, words: int) -> list[str]:
    """Valid BIO tags by chance."""
    tags = ["O"]
    for _ in range(words):
        ways = ["O", *(f"B-{kind}" for kind in KINDS), *([f"I-{tags[-1][2:]}"] * 2 if tags[-1] != "O" else [])]
        tags.append(str(rng.choice(ways)))
    return tags[1:]


def test_entities_are_runs_of_words() -> None:
    assert entities(["B-PER", "I-PER", "B-PER", "O", "B-LOC"]) == [(0, 2, "PER"), (2, 3, "PER"), (4, 5, "LOC")]
    assert entities(["I-PER", "I-LOC", "O"]) == [(0, 1, "PER"), (1, 2, "LOC")]
    assert entities([]) == []
    assert tags_of([(1, 3, "PER")], 4) == ["O", "B-PER", "I-PER", "O"]


@pytest.mark.parametrize(
    ("tags", "valid"),
    [
        (["B-PER", "I-PER", "O", "B-LOC", "B-LOC"], True),
        (["I-PER"], False),
        (["O", "I-PER"], False),
        (["B-PER", "I-LOC"], False),
        (["B-PER", "X-PER"], False),
        (["B-"], False),
        ([], True),
    ],
)
def test_which_sequences_are_valid(tags: list[str], valid: bool) -> None:
    assert is_valid(tags) == valid


def test_an_entity_is_right_where_its_ends_and_its_type_are() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC"]]
    found = [["B-PER", "O", "O", "B-LOC"], ["B-PER", "B-LOC"]]
    assert entity_sums(found, gold).tolist() == [[1, 2, 2], [1, 2, 1]]
    assert entity_sums(found, gold, "LOC").tolist() == [[1, 1, 1], [1, 1, 1]]
    sums = entity_sums(found, gold)
    assert overall(sums, measure("entity_precision")) == 2 / 4
    assert overall(sums, measure("entity_recall")) == 2 / 3
    assert overall(sums, measure("entity_f1")) == pytest.approx(4 / 7)
    assert overall(entity_sums([["O"]], [["O"]]), measure("entity_f1")) == 0.0


def test_the_share_of_invalid_sequences() -> None:
    assert overall(invalid_sums([["I-PER"], ["O"], ["B-PER"], ["O"]]), measure("invalid_tags")) == 0.25
    assert not measure("invalid_tags").higher


def test_scores_are_those_of_seqeval() -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    rng = np.random.default_rng(0)
    gold = [random_tags(rng, 12) for _ in range(60)]
    found = [
        [tag if rng.random() < 0.8 else other for tag, other in zip(tags, random_tags(rng, 12), strict=True)] for tags in gold
    ]
    found = [tags_of(entities(tags), len(tags)) for tags in found]
    sums = entity_sums(found, gold)
    for name, theirs in (("f1", seqeval.f1_score), ("precision", seqeval.precision_score), ("recall", seqeval.recall_score)):
        assert overall(sums, measure(f"entity_{name}")) == pytest.approx(theirs(gold, found))
    report = seqeval.classification_report(gold, found, output_dict=True)
    for kind in KINDS:
        mine = entity_sums(found, gold, kind)
        assert overall(mine, measure("entity_f1")) == pytest.approx(report[kind]["f1-score"])
        assert mine.sum(0)[2] == report[kind]["support"]
