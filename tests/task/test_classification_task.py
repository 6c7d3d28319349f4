"""Classification over a made-up backbone, whose scores are known numbers, and over the tiny one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.seam import Answers, Choices, Live
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.errors import DataError, SettingsError
from pegbox.prompt import Prompt, SoftSlot, parse
from pegbox.task.calibration import CALIBRATION_ROWS, Calibration
from pegbox.task.classification import Classification
from pegbox.task.predictor import PromptPredictor

PROMPT = parse("{text} [answer]")
ROWS = Rows.from_texts(["a", "b", "c"], ["pos", "neg", "pos"])
TASK = Classification(("neg", "pos"))


class Said:
    """A backbone that gives fixed probabilities to its words, whatever it reads."""

    def __init__(self, **words: float) -> None:
        self.words, self.asked, self.rows = words, [], []  # type: ignore[var-annotated]

    def bind(self, prompt: Prompt, rows: Rows, answers: Answers) -> SaidBound:
        assert isinstance(answers, Choices)
        self.asked.append(answers.words)
        self.rows.append(rows)
        return SaidBound(torch.tensor([self.words[word] for word in answers.words]).log())


class SaidBound:
    cut_rows = (1,)

    def __init__(self, scores: torch.Tensor) -> None:
        self.answer = scores

    def score(self, index: Sequence[int], live: Live | None = None, only: Sequence[int] | None = None) -> torch.Tensor:
        return self.answer.expand(1, len(index), -1) if only is None else self.answer[list(only)][None, :, None]


def test_labels_words_are_asked_for_in_the_labels_order() -> None:
    said = Said(neg=0.2, pos=0.8)
    bound = TASK.bind(PROMPT, said, ROWS)  # type: ignore[arg-type]
    assert said.asked == [("neg", "pos")]
    assert bound.cut_rows == (1,)
    assert torch.allclose(bound.scores([0, 2]), torch.tensor([0.2, 0.8]).log().expand(1, 2, 2))


def test_several_words_of_a_label_share_its_place_equally() -> None:
    """Means 0.3 and (0.1 + 0.2 + 0.4) / 3 = 0.2333: shares 0.3 / 0.5333 = 0.5625 and 0.4375."""
    said = Said(bad=0.3, good=0.1, great=0.2, fine=0.4)
    task = Classification(("neg", "pos"), words={"pos": ("good", "great", "fine"), "neg": ("bad",)})
    bound = task.bind(PROMPT, said, ROWS)  # type: ignore[arg-type]
    assert said.asked == [("bad", "good", "great", "fine")]
    assert bound.scores([0]).exp()[0, 0].tolist() == pytest.approx([0.5625, 0.4375])


def test_a_prompts_own_words_come_before_the_tasks() -> None:
    said = Said(no=0.5, yes=0.5)
    TASK.bind(PROMPT.with_words({"pos": ("yes",), "neg": ("no",)}), said, ROWS)  # type: ignore[arg-type]
    assert said.asked == [("no", "yes")]
    with pytest.raises(SettingsError, match="no words for label 'neg'"):
        TASK.bind(PROMPT.with_words({"pos": ("yes",)}), said, ROWS)  # type: ignore[arg-type]


def test_the_loss_is_the_gold_labels_negative_log_probability_among_the_labels() -> None:
    """Of 0.1 and 0.3 among all words, the labels' shares are 1/4 and 3/4."""
    bound = TASK.bind(PROMPT, Said(neg=0.1, pos=0.3), ROWS)  # type: ignore[arg-type]
    assert bound.gold is not None
    assert bound.gold.tolist() == [1, 0, 1]
    assert bound.losses([0, 1, 2])[0].tolist() == pytest.approx([math.log(4 / 3), math.log(4), math.log(4 / 3)])


def test_the_loss_over_the_vocabulary_counts_what_no_label_has() -> None:
    bound = TASK.bind(PROMPT, Said(neg=0.1, pos=0.3), ROWS, loss="vocabulary")  # type: ignore[arg-type]
    assert bound.losses([0, 1])[0].tolist() == pytest.approx([-math.log(0.3), -math.log(0.1)])
    assert bound.scores([0]).exp()[0, 0].tolist() == pytest.approx([0.25, 0.75])  # labels are still chosen among labels
    real = Classification(("neg", "pos")).bind(parse("{text} It is [answer]"), HuggingFaceBackbone(tiny()), ROWS, "vocabulary")
    assert (real.losses([0]) > -real.scores([0])[..., 1] + 0.5).all()


def test_losses_of_variants_are_each_their_own_and_have_a_gradient() -> None:
    backbone = HuggingFaceBackbone(tiny())
    bound = Classification(("neg", "pos")).bind(parse("{text} [soft s 2] It is [answer]"), backbone, ROWS)
    live = {"s": 0.1 * torch.randn(3, 2, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()}
    losses, scores = bound.losses([2, 1], live), bound.scores([2, 1], live)
    assert losses.shape == (3, 2)
    assert torch.allclose(losses, torch.stack([-scores[:, 0, 1], -scores[:, 1, 0]], dim=1))
    (slope,) = torch.autograd.grad(losses[1].sum(), live["s"])
    assert slope[1].abs().max() > 0
    assert slope[[0, 2]].abs().max() == 0


def test_a_loss_needs_labels() -> None:
    bound = TASK.bind(PROMPT, Said(neg=0.1, pos=0.3), Rows.from_texts(["a"]))  # type: ignore[arg-type]
    assert bound.gold is None
    with pytest.raises(DataError, match="a loss for rows without labels"):
        bound.losses([0])


def test_a_label_that_the_task_does_not_know_is_named_with_its_row() -> None:
    rows = Rows(ROWS.fields, ("pos", "odd", "neg"), source="test.csv").take([2, 1])
    with pytest.raises(DataError, match=r"^test.csv, row 2 has the label 'odd'\n  expected: one of neg, pos"):
        TASK.gold(rows)


def test_the_prior_counts_one_more_row_of_each_label() -> None:
    assert TASK.prior(ROWS).tolist() == pytest.approx([2 / 5, 3 / 5])
    assert Classification(("neg", "none", "pos")).prior(ROWS).tolist() == pytest.approx([2 / 6, 1 / 6, 3 / 6])


def test_batch_calibration_turns_a_fixed_lean_into_the_labels_shares() -> None:
    said = Said(neg=0.99, pos=0.01)
    calibration = TASK.calibrate(PROMPT, said, ROWS)  # type: ignore[arg-type]
    assert TASK.predict_proba(PROMPT, said, ROWS, calibration) == pytest.approx(np.tile([2 / 5, 3 / 5], (3, 1)))  # type: ignore[arg-type]
    assert said.rows[0] == ROWS


def test_batch_calibration_reads_so_many_rows_at_most_and_the_prior_all() -> None:
    count = 3 * CALIBRATION_ROWS
    many = Rows.from_texts([str(number) for number in range(count)], ["pos"] * (count - 1) + ["neg"])
    said = Said(neg=0.5, pos=0.5)
    calibration = TASK.calibrate(PROMPT, said, many)  # type: ignore[arg-type]
    assert len(said.rows[0]) == CALIBRATION_ROWS
    assert len(set(said.rows[0].numbers)) == CALIBRATION_ROWS
    again = Said(neg=0.5, pos=0.5)
    TASK.calibrate(PROMPT, again, many)  # type: ignore[arg-type]
    assert again.rows[0] == said.rows[0]
    share = 2 / (count + 2)
    assert calibration.offsets == pytest.approx((math.log(share / 0.5), math.log((1 - share) / 0.5)))


def test_contextual_calibration_reads_texts_that_say_nothing_in_every_field() -> None:
    said = Said(neg=0.2, pos=0.8)
    task = Classification(("neg", "pos"), calibration="contextual")
    fitted = task.calibrate(parse("{title}: {text} [answer]"), said, ROWS)  # type: ignore[arg-type]
    assert [dict(row) for row in said.rows[0]] == [dict.fromkeys(("title", "text"), text) for text in ("N/A", "", "[MASK]")]
    assert fitted.offsets == pytest.approx((math.log(0.4 / 0.2), math.log(0.6 / 0.8)))


def test_without_calibration_nothing_is_read() -> None:
    task = Classification(("neg", "pos"), calibration="none")
    assert task.calibrate(PROMPT, Said(), ROWS) == Calibration()  # type: ignore[arg-type]


def test_probabilities_add_up_to_1_and_a_predictor_gives_the_same() -> None:
    backbone = HuggingFaceBackbone(tiny())
    prompt = parse("{text} [soft s 2] It is [answer]").fill(s=np.full((2, 64), 0.1, dtype=np.float32))
    task = Classification.of(ROWS, calibration="batch")
    assert task.labels == ("neg", "pos")
    calibration = task.calibrate(prompt, backbone, ROWS)
    found = task.predict_proba(prompt, backbone, ROWS, calibration)
    assert found.dtype == np.float32
    assert found.sum(1) == pytest.approx([1, 1, 1], abs=1e-6)
    predictor = PromptPredictor(prompt, task, backbone, calibration)
    assert np.array_equal(predictor.predict_proba(ROWS), found)
    assert predictor.parameters == 2 * 64
    assert isinstance(prompt.slots["s"], SoftSlot)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"labels": ("a",)}, DataError, "labels a\n  expected: at least two different labels"),
        ({"labels": ()}, DataError, "labels none"),
        ({"labels": ("a", "a", "b")}, DataError, "labels a, a, b"),
        ({"labels": ("a", "b"), "calibration": "platt"}, SettingsError, "calibration 'platt'"),
        ({"labels": ("a", "b"), "words": {"c": ("x",)}}, SettingsError, "words for 'c'"),
    ],
)
def test_a_task_that_makes_no_sense_is_refused(settings: dict[str, object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Classification(**settings)  # type: ignore[arg-type]
