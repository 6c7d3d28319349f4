"""Long texts: how they are cut, and how pieces are scored and pooled."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.prompt import parse
from pegbox.task.classification import Classification
from pegbox.task.long import Cutter, Long, pooled, spread
from pegbox.task.pooling import chosen
from pegbox.task.predictor import PromptPredictor

PROMPT = parse("Sort. {text} It is [answer]")
LABELS = ("bad", "good")
WORDS = "one two three four five six seven"  # tokens are bytes here


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


def task(way: str, tokens: int | None = 12, **more: object) -> Classification:
    return Classification(LABELS, long=Long(way, tokens, **more))  # type: ignore[arg-type]


def sent(way: str, text: str, backbone: HuggingFaceBackbone, tokens: int | None = 12, overlap: int = 0) -> list[str]:
    parted = Long(way, tokens, overlap).parted(PROMPT, backbone, Rows.from_texts([text]), LABELS)  # type: ignore[arg-type]
    return parted.rows.column()


def test_texts_are_cut_between_words(backbone: HuggingFaceBackbone) -> None:
    assert sent("head", WORDS, backbone) == ["one two"]  # with " three" 13 bytes
    assert sent("tail", WORDS, backbone) == ["six seven"]  # " five six seven" has 15
    assert sent("chunks", WORDS, backbone) == ["one two", "three four", "five six", "seven"]
    overlapping = sent("chunks", WORDS, backbone, overlap=5)  # " three" has 6 bytes and is not read again
    assert overlapping == ["one two", "two three", "four five", "five six", "six seven"]
    for way in ("head", "tail", "chunks"):
        assert sent(way, "short", backbone) == ["short"]


def test_a_word_that_is_too_long_is_cut_within(backbone: HuggingFaceBackbone) -> None:
    assert "".join(sent("chunks", "abcdefghij" * 3, backbone)) == "abcdefghij" * 3
    assert all(len(piece) <= 12 for piece in sent("chunks", "abcdefghij" * 3 + " and so on", backbone))
    assert len(sent("tail", "é" * 30, backbone)[0].encode()) <= 12
    assert sent("tail", "x" * 40, backbone)[0] != ""


def test_pieces_fit_into_the_context_whatever_stands_around_them(backbone: HuggingFaceBackbone) -> None:
    rng = np.random.default_rng(0)
    text = " ".join("w" * int(n) for n in rng.integers(1, 9, 1500))
    assert len(text) > 2 * backbone.context
    prompt = parse("[deep d 5] [hard say] Sort. {text} {more} [soft s 9] It is [answer]")
    rows = Rows(({"text": text, "more": "a" * 100}, {"text": text, "more": "b"}), ("bad", "good"))
    parted = Long("chunks").parted(prompt, backbone, rows, LABELS)
    assert [row["more"][0] for row in parted.rows.fields] == ["a"] * len(parted.spans[0]) + ["b"] * len(parted.spans[1])
    bound = backbone.bind(prompt, parted.rows, Classification(LABELS).bind(PROMPT, backbone, rows)._bounds and _choices())
    assert bound.cut_rows == ()
    for span in parted.spans:
        assert " ".join(parted.rows.column()[at] for at in span) == text
        assert len(span) == math.ceil(len(text) / backbone.context) or len(span) == math.ceil(len(text) / backbone.context) + 1


def _choices() -> object:
    from pegbox.backbone.seam import Choices

    return Choices(LABELS)


def test_the_models_own_way_is_to_cut_at_the_end_and_nothing_else_is_done(backbone: HuggingFaceBackbone) -> None:
    assert Long().plain
    assert not Long(tokens=5).plain
    rows = Rows.from_texts(["a" * 3 * backbone.context, "short"])
    bound = Classification(LABELS).bind(PROMPT, backbone, rows)
    assert bound.parted is None
    assert bound.cut_rows == (0,)
    assert bound.told("texts") == ("1 of 2 texts were cut to the model's context",)


def test_pieces_scores_are_pooled_by_hand() -> None:
    """Two pieces with label probabilities (0.8, 0.2) and (0.5, 0.5)."""
    pieces = torch.tensor([[[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]]]).log()
    found = {rule: pooled(pieces, [2, 1], rule)[0].exp() for rule in ("mean", "max", "average")}  # type: ignore[arg-type]
    assert found["mean"][0].tolist() == pytest.approx([2 / 3, 1 / 3])  # sqrt(0.4) against sqrt(0.1), 2 to 1
    assert found["max"][0].tolist() == pytest.approx([0.8 / 1.3, 0.5 / 1.3])
    assert found["average"][0].tolist() == pytest.approx([0.65, 0.35])
    assert all(some[1].tolist() == pytest.approx([0.1, 0.9]) for some in found.values())


def test_a_texts_score_is_its_pieces_scores_pooled(backbone: HuggingFaceBackbone) -> None:
    rows = Rows.from_texts([WORDS, "short"], ["bad", "good"])
    whole = task("chunks", pool="max").bind(PROMPT, backbone, rows)
    pieces = ["one two", "three four", "five six", "seven", "short"]
    apart = Classification(LABELS).bind(PROMPT, backbone, Rows.from_texts(pieces)).scores(range(5))[0]
    wanted = torch.stack([apart[:4].amax(0), apart[4]]).log_softmax(-1)
    assert torch.allclose(whole.scores([0, 1])[0], wanted, atol=1e-4)
    assert torch.allclose(whole.scores([1, 0])[0], wanted.flip(0), atol=1e-4)
    assert whole.gold is not None
    assert whole.gold.tolist() == [0, 1]
    assert whole.cut_rows == ()
    assert whole.told("test texts") == ("1 of 2 test texts were too long and read in 4 pieces, pooled by max",)


def test_heads_and_tails_count_as_cut(backbone: HuggingFaceBackbone) -> None:
    rows = Rows.from_texts(["short", WORDS], ["bad", "good"])
    for way, part in (("head", "beginning"), ("tail", "end")):
        bound = task(way).bind(PROMPT, backbone, rows)
        assert bound.cut_rows == (1,)
        assert bound.told("texts") == (f"of 1 of 2 texts the {part} was read, as they were too long",)


def test_training_learns_from_one_piece_of_each_text_the_same_every_time(backbone: HuggingFaceBackbone) -> None:
    rows = Rows.from_texts([WORDS, "short", *[WORDS + f" {n}" for n in range(20)]], ["bad", "good"] * 11)
    said: list[str] = []
    found = task("chunks").taught(PROMPT, backbone, rows, said.append)
    assert found == task("chunks").taught(PROMPT, backbone, rows, said.append)
    assert (found.labels, found.numbers) == (rows.labels, rows.numbers)
    assert found.column()[1] == "short"
    assert len(set(found.column())) > 3
    assert all(len(text) <= 12 and text in whole for text, whole in zip(found.column(), rows.column(), strict=True))
    assert said[0] == "21 of 22 training texts are too long: what is learned from is one piece of each"
    assert task("tail").taught(PROMPT, backbone, rows, said.append).column()[0] == "six seven"
    assert Classification(LABELS).taught(PROMPT, backbone, rows, said.append) is rows


def test_a_loss_over_the_vocabulary_is_that_of_the_first_piece(backbone: HuggingFaceBackbone) -> None:
    rows = Rows.from_texts([WORDS], ["good"])
    found = task("chunks").bind(PROMPT, backbone, rows, "vocabulary").losses([0])
    wanted = Classification(LABELS).bind(PROMPT, backbone, Rows.from_texts(["one two"], ["good"]), "vocabulary").losses([0])
    assert torch.allclose(found, wanted, atol=1e-4)


def test_vectors_of_each_row_are_given_to_each_of_its_pieces() -> None:
    own, shared = torch.arange(4.0).view(1, 2, 2, 1), torch.ones(3, 2, 1)
    found = spread({"own": own, "shared": shared, "words": [[1, 2]]}, [2, 1])
    assert found is not None
    assert found["own"].flatten().tolist() == [0, 1, 0, 1, 2, 3]  # type: ignore[union-attr]
    assert found["shared"] is shared
    assert found["words"] == [[1, 2]]


def test_the_rule_is_chosen_on_dev_rows_and_each_is_calibrated_as_it_would_be_used(backbone: HuggingFaceBackbone) -> None:
    rows = Rows.from_texts([f"{WORDS} {n}" for n in range(12)], ["bad", "good"] * 6)
    whole = task("chunks")
    predictor = PromptPredictor(PROMPT, whole, backbone, whole.calibrate(PROMPT, backbone, rows))
    said: list[str] = []
    found = chosen(predictor, rows, rows, said.append)
    scores = {}
    for rule in ("mean", "max", "average"):
        other = task("chunks", pool=rule)
        calibration = other.calibrate(PROMPT, backbone, rows)
        logs = np.log(other.predict_proba(PROMPT, backbone, rows, calibration))
        gold = other.gold(rows)
        scores[rule] = (float((logs.argmax(1) == gold).mean()), round(float(logs[np.arange(12), gold].mean()), 4))
        if rule == found.task.long.pool:
            assert found.calibration.offsets == pytest.approx(calibration.offsets, abs=1e-3)
    assert scores[found.task.long.pool] == max(scores.values())
    assert re.fullmatch(r"pieces are pooled by (mean|max|average), the best of mean, max, average on 12 dev rows \(.*", said[0])


def test_settled_leaves_alone_what_was_chosen_by_the_user(backbone: HuggingFaceBackbone) -> None:
    rows = Rows.from_texts(["a b", "c d"], ["bad", "good"])
    for known in (task("chunks", pool="max"), task("tail"), Classification(LABELS)):
        predictor = known.predictor(PROMPT, backbone, rows)
        assert known.settled(predictor, rows, rows, print) is predictor
    said: list[str] = []
    whole = task("chunks")
    assert whole.settled(whole.predictor(PROMPT, backbone, rows), rows, rows, said.append).task.long.pool == "mean"
    assert said == ["none of the 2 dev texts is too long, so pieces are pooled by mean"]


def test_the_setting_is_kept_with_the_task() -> None:
    kept = task("chunks", pool="max", overlap=3)
    assert Classification.from_json(kept.to_json()) == kept
    assert "long" not in Classification(LABELS).to_json()  # as before there were long texts


@pytest.mark.parametrize(
    "settings", [{"way": "middle"}, {"pool": "sum"}, {"tokens": 0}, {"tokens": 8, "overlap": 8}, {"overlap": -1}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"long"):
        Long(**settings)  # type: ignore[arg-type]


def test_a_cutter_fills_what_there_is_room_for(backbone: HuggingFaceBackbone) -> None:
    assert Cutter(backbone).pieces("a b c d e f", 5, 0) == ["a b c", "d e f"]
    assert Cutter(backbone).pieces("  ", 1, 0) == [""]
