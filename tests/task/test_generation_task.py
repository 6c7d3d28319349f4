"""Generation as a task: what is learned from, what is written, and how it is scored; on the tiny backbone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.opening import backbone_of
from pegbox.backbone.seam import Targets
from pegbox.backbone.tiny import tiny
from pegbox.backbone.tiny_two_way import tiny_two_way
from pegbox.data.references import apart
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.metrics.measures import measure, overall
from pegbox.prompt import parse
from pegbox.task.entry import Asked
from pegbox.task.generation import RANKED, Generation, TextPredictor
from pegbox.task.likelihood import Likelihood
from pegbox.task.registry import entry

ROWS = Rows(({"text": "one"}, {"text": "two words"}), gold=(["un", "a"], ["deux mots"]))
PLAIN = parse(r"Say it: {text}\nAnswer:[answer]\n")
CHAT = parse("[system] Say it. [user] {text} [assistant] [answer]")


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


def test_a_loss_is_the_mean_over_a_texts_tokens_and_its_end(backbone: HuggingFaceBackbone) -> None:
    rows = apart(ROWS)
    bound = Likelihood().bind(PLAIN, backbone, rows)
    start = backbone.loaded.tokenizer("", add_special_tokens=True)["input_ids"]
    expected = []
    for row, target in zip(rows.fields, rows.answers(), strict=True):
        context = f"Say it: {row['text']}\nAnswer:"
        ids = [*(start or []), *context.encode(), *target.encode(), ord("\n")]
        with torch.no_grad():
            logs = backbone.loaded.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        first = len(ids) - len(target.encode()) - 1
        expected.append(-float(np.mean([float(logs[at - 1, ids[at]]) for at in range(first, len(ids))])))
    assert bound.losses(range(3))[0].tolist() == pytest.approx(expected, rel=1e-4)
    assert bound.log_probabilities()[0, :, 0].tolist() == pytest.approx([-loss for loss in expected], rel=1e-4)


def test_the_end_of_a_chat_turn_counts_and_targets_alone_do_not(backbone: HuggingFaceBackbone) -> None:
    rows = apart(ROWS)
    with_end = backbone.bind(CHAT, rows, Targets(rows.answers(), ended=True))
    without = backbone.bind(CHAT, rows, Targets(rows.answers()))
    assert with_end.target_lengths == (3, 2, 10)
    assert without.target_lengths == (2, 1, 9)
    longer = [row["text"] for row in rows.fields]
    more = with_end.score(range(3))[0, :, 0] - without.score(range(3))[0, :, 0]
    after = [parse("[system] Say it. [user] {text} [assistant] {said}[answer]") for _ in longer]
    for at, prompt in enumerate(after):
        row = Rows(({"text": rows.fields[at]["text"], "said": rows.answers()[at]},))
        end = backbone.loaded.tokenizer.convert_tokens_to_ids("<|im_end|>")
        logs = backbone.bind(prompt, row, Targets(("x",))).next_words([0])
        assert float(more[at]) == pytest.approx(float(logs[0, end]), abs=1e-4)


def test_a_single_answer_is_never_calibrated_away(backbone: HuggingFaceBackbone) -> None:
    task = Likelihood()
    scores = np.array([[-2.0], [-0.5]])
    assert task.calibrate(PLAIN, backbone, apart(ROWS)).apply(scores).tolist() == scores.tolist()


def test_statistics_and_perplexity(backbone: HuggingFaceBackbone) -> None:
    task = Generation(max_tokens=4)
    predictor = TextPredictor(PLAIN, task, backbone, 4)
    outputs = predictor.answers(ROWS)
    assert all(len(text.encode()) <= 12 for text in outputs)  # 4 bytes; half characters take three each
    found = task.statistics(outputs, ROWS)
    assert set(found) == set(task.measures)
    losses = Likelihood().bind(PLAIN, backbone, apart(ROWS)).losses(range(3))[0].tolist()
    nats = losses[0] * 3 + losses[1] * 2 + losses[2] * 10
    assert found["perplexity"].sum(0).tolist() == pytest.approx([nats, 15], rel=1e-4)
    assert overall(found["perplexity"], measure("perplexity")) == pytest.approx(math.exp(nats / 15), rel=1e-4)
    exact = task.statistics(["un", "deux"], ROWS)
    assert overall(exact["exact_match"], measure("exact_match")) == 0.5
    assert predictor.answers(Rows.from_texts(["one"]))[0] == outputs[0]  # references change nothing


def test_room_is_that_of_the_longest_reference(backbone: HuggingFaceBackbone) -> None:
    assert Generation().predictor(PLAIN, backbone, ROWS).max_tokens == int(1.25 * 9) + 8
    assert Generation(max_tokens=5).predictor(PLAIN, backbone, ROWS).max_tokens == 5


def test_settings_go_through_json_and_bad_ones_are_refused() -> None:
    task = Generation(main="bleu", stop=("a", "b"), beams=3, regex="x+")
    assert Generation.from_json(dict(task.to_json())) == task
    assert task.measures[0] == "bleu"
    assert sorted(task.measures[:5]) == sorted(RANKED)
    with pytest.raises(SettingsError, match="main='perplexity'"):
        Generation(main="perplexity")
    with pytest.raises(SettingsError, match="3 beams at temperature"):
        Generation(beams=3, temperature=1.0)


def test_the_prompt_that_pegbox_writes() -> None:
    task, prompt = entry("generate").make(ROWS, Asked())
    assert isinstance(task, Generation)
    assert prompt == parse(r"[user] Read the text and write the answer that belongs to it.\n\n{text} [assistant] [answer]")
    with pytest.raises(SettingsError, match="--words for --task generate"):
        entry("generate").make(ROWS, Asked(words={"a": "b"}))


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_encoder_decoder_models_learn_and_write_texts(name: str) -> None:
    """Their texts end with the decoder's own mark; beams and forms are for causal models."""
    backbone = backbone_of(tiny_two_way(name))
    prompt = parse("Say it: {text} [soft s 3] Now:[answer]").fill(s=np.full((3, backbone.width), 0.1, np.float32))
    rows = apart(ROWS)
    ended, bare = (backbone.bind(prompt, rows, Targets(rows.answers(), ended=some)) for some in (True, False))
    assert ended.target_lengths == tuple(length + 1 for length in bare.target_lengths) == (3, 2, 10)
    assert (ended.score(range(3)) < bare.score(range(3))).all()
    found = TextPredictor(prompt, Generation(), backbone, 5).answers(ROWS)
    assert [str(text) for text in found] == [text.strip() for text in backbone.generate(prompt, ROWS, max_tokens=5)]
    assert [text.tokens for text in found] == [5, 10]
    with pytest.raises(SettingsError, match="which has an encoder and a decoder"):
        backbone.generate(prompt, ROWS, beams=2)


@pytest.mark.parametrize(("settings", "what"), [({"regex": "("}, "regular expression"), ({"json_schema": "{"}, "JSON schema")])
def test_a_form_that_cannot_be_used_is_told_before_anything_is_tuned(settings: dict[str, str], what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        Generation(**settings).check(parse("{text} [answer]"))
    Generation(regex="[ab]+").check(parse("{text} [answer]"))


def test_numbers_in_every_layer_count_as_trained() -> None:
    prompt = parse("[deep d 2] {text} [answer]").fill(d=np.zeros((2, 8)))
    assert TextPredictor(prompt, Generation(), HuggingFaceBackbone(tiny()), 8).parameters == 16
