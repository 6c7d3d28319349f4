"""Scores of written texts: against sacrebleu's and rouge-score's own, and against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from pegbox.metrics import generation

TEXTS = [
    "The cat sat on the mat, quietly.",
    "Rain is expected tomorrow in the north of the country.",
    "rain",
    "",
    "Nothing here is right at all!",
]
REFERENCES = [
    ["The cat sat quietly on the mat.", "A cat was sitting on the mat, quietly."],
    ["Rain is expected in the north tomorrow.", "Tomorrow it will rain in the north of the country."],
    ["Rain, rain and more rain.", "It rains."],
    ["Something.", "Anything."],
    ["Completely different words were wanted.", "Other ones."],
]
STREAMS = [list(stream) for stream in zip(*REFERENCES, strict=True)]  # as sacrebleu wants them


def sums(name: str, index: list[int]) -> np.ndarray:
    return generation.statistics(TEXTS, REFERENCES)[name][index].sum(axis=0)


@pytest.mark.parametrize("index", [[0, 1, 2, 3, 4], [0, 1], [2, 4], [3], [0, 0, 1]])
def test_bleu_and_chrf_of_summed_rows_are_those_of_the_corpus(index: list[int]) -> None:
    texts, streams = [TEXTS[at] for at in index], [[stream[at] for at in index] for stream in STREAMS]
    assert 100 * generation.bleu(sums("bleu", index)) == pytest.approx(BLEU().corpus_score(texts, streams).score, abs=1e-6)
    assert 100 * generation.chrf(sums("chrf", index)) == pytest.approx(CHRF().corpus_score(texts, streams).score, abs=1e-6)


def test_scores_of_many_sums_at_once() -> None:
    found = generation.statistics(TEXTS, REFERENCES)
    for name, score in (("bleu", generation.bleu), ("chrf", generation.chrf), ("token_f1", generation.share)):
        one_by_one = [float(score(row)) for row in found[name]]
        assert score(found[name]).tolist() == pytest.approx(one_by_one)
        assert score(np.zeros((2, 3, found[name].shape[1]))).tolist() == [[0.0] * 3] * 2  # 0 of 0 is 0


def test_smoothing_of_orders_without_a_match() -> None:
    # 3 of 5 words right, none in a row: orders 2 to 4 count 1/2, 1/4, 1/8 of a match in 4, 3, 2 n-grams
    found = generation.bleu_sums()("a x b y c", ["a b c d e"])
    assert found == [5, 5, 3, 0, 0, 0, 5, 4, 3, 2]
    assert float(generation.bleu(np.array(found, float))) == pytest.approx((3 / 5 * 1 / 8 * 1 / 12 * 1 / 16) ** 0.25)


def test_chrf_by_hand() -> None:
    # "ab" against "abc": orders 1 and 2 are in both, precision 1 and 1, recall 2/3 and 1/2; F2 of 1 and 7/12
    found = generation.chrf_sums("a b", ["abc"])
    assert found[:9] == [2, 3, 2, 1, 2, 1, 0, 1, 0]
    recall = (2 / 3 + 1 / 2) / 2
    assert float(generation.chrf(np.array(found, float))) == pytest.approx(5 * recall / (4 + recall))


def test_rouge_is_the_packages_own() -> None:
    scorer = RougeScorer(["rougeL"])
    best = [max(scorer.score(r, t)["rougeL"].fmeasure for r in some) for t, some in zip(TEXTS, REFERENCES, strict=True)]
    assert generation.statistics(TEXTS, REFERENCES)["rouge_l"][:, 0].tolist() == pytest.approx(best)


def test_words_of_other_scripts_count() -> None:
    assert generation.rouge_sums()("Привет, мир", ["привет мир и все"]) == [pytest.approx(2 * 1.0 * 0.5 / 1.5), 1.0]


def test_exact_match_token_f1_length_and_repetition_by_hand() -> None:
    assert generation.exact_sums(" Rain. ", ["Snow", "Rain."]) == [1.0, 1.0]
    assert generation.exact_sums("rain.", ["Rain."]) == [0.0, 1.0]
    # 2 of 3 and 2 of 4 words shared: 2 * 2 / (3 + 4)
    assert generation.token_f1_sums("Red, green: blue", ["x", "green! red and more"]) == [pytest.approx(4 / 7), 1.0]
    assert generation.length_sums("one two three", ["a b c d e f", "a", "a b"]) == [3.0, 2.0]
    # a b c d e has 2 runs of four; the third, fourth and fifth break at "a", then "a b c d" comes again
    assert generation.repetition_sums("a b c d a b c d") == [1.0, 5.0]
    assert generation.repetition_sums("a b c") == [0.0, 0.0]


def test_perplexity_is_of_tokens_not_of_rows() -> None:
    rows = np.array([[2.0, 1.0], [1.0, 5.0]])
    assert float(generation.perplexity(rows.sum(0))) == pytest.approx(math.exp(3 / 6))


def test_signatures_are_sacrebleus_own() -> None:
    bleu, chrf = BLEU(), CHRF()
    bleu.corpus_score(TEXTS, STREAMS)
    chrf.corpus_score(TEXTS, STREAMS)
    assert generation.signatures(REFERENCES) == {"bleu": str(bleu.get_signature()), "chrf": str(chrf.get_signature())}
    assert "nrefs:var|" in generation.signatures([["a"], ["a", "b"]])["bleu"]
