import itertools
import json

import numpy as np
import pytest

from pegbox.api import compare
from pegbox.artifact import Tuned
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.data.sentences import read_sentences
from pegbox.errors import DataError, PegboxError, PromptError
from pegbox.metrics.measures import measure, overall
from pegbox.prompt import format, parse
from pegbox.task.entry import Asked
from pegbox.task.registry import entry
from pegbox.task.tag import default_prompt, make
from pegbox.task.tagging import Tagged, Tagging
from pegbox.task.type_words import type_words
from pegbox.tune.orders import drawn, together

PLACES = ("Paris", "Rome", "Oslo")


def sentences(count: int, seed: int = 0) -> Rows:
    """Sentences in which a place stands, or a person of two words."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        words = ["we", "see", f"n{seed}{number}", "."]
        tags = ["O"] * 4
        place = number % 2
        found = [str(rng.choice(PLACES))] if place else ["Ann", "Lee"]
        words[2:2], tags[2:2] = found, ["B-LOC"] if place else ["B-PER", "I-PER"]
        made.append((words, tags))
    return read_sentences(made).rows


def test_types_have_plain_words() -> None:
    assert type_words(("O", "PER", "LOC", "album_name", "MUSIC")) == {
        "O": ("none",), "PER": ("person",), "LOC": ("location",), "album_name": ("album name",), "MUSIC": ("music",),
    }  # fmt: skip
    assert type_words(("O", "PER", "PERSON"))["PERSON"] == ("PERSON",)  # not one word for two types


def test_a_task_is_made_of_what_the_tags_say() -> None:
    task, prompt = make(sentences(4), Asked(words={"PER": "human being"}))
    assert task.types == ("O", "LOC", "PER")
    assert task.words["PER"] == ("human being",)
    assert format(prompt) == (
        r"Say what each word of the text names: location, human being or none.\nText: {text}\nWord and type: {word} [answer]"
    )
    assert make(sentences(4), Asked(prompt=parse("{text} {word} is [answer]")))[1] == parse("{text} {word} is [answer]")


@pytest.mark.parametrize(
    "asked",
    [
        Asked(prompt=parse("{text} [answer]")),
        Asked(channel=True),
        Asked(calibration="contextual"),
        Asked(words={"ORG": "group"}),
        Asked(words={"PER": "none"}),
    ],
)
def test_what_makes_no_sense_is_told(asked: Asked) -> None:
    with pytest.raises(PegboxError) as caught:
        make(sentences(4), asked)
    assert caught.value.expected


def test_methods_tune_words_of_which_as_many_are_of_no_type() -> None:
    task, _ = make(sentences(20), Asked())
    of_words, train, dev = task.tuned_as(sentences(20), sentences(6, 1))
    assert of_words.labels == ("O", "LOC", "PER")
    assert train.answers().count("PER") == 20
    assert 18 <= train.answers().count("O") <= 42  # 60 draws at one half: three standard deviations around 30
    assert len(dev) < 6 * 5.5


def test_words_of_a_sentence_are_drawn_together() -> None:
    rows = make(sentences(20), Asked())[0].tuned_as(sentences(20), sentences(6, 1))[1]
    order = drawn(rows, 3)
    assert sorted(order) == list(range(len(rows)))
    of = [rows.sentences[at] for at in order]  # type: ignore[attr-defined]
    assert len([at for at, (one, other) in enumerate(itertools.pairwise(of)) if one != other]) <= 19
    assert of != sorted(of)
    assert together(Rows.from_texts(["a", "b"])) == [[0], [1]]


def answer(tags: list[str]) -> Tagged:
    return Tagged("Ann Lee sees Rome.", ((0, 3), (4, 7), (8, 12), (13, 17), (17, 18)), tuple(tags))


def test_answers_are_spans_of_the_users_own_text() -> None:
    found = answer(["B-PER", "I-PER", "O", "B-LOC", "O"])
    task = Tagging(("PER", "LOC"))
    assert found.spans() == [
        {"start": 0, "end": 7, "label": "PER", "text": "Ann Lee"},
        {"start": 13, "end": 17, "label": "LOC", "text": "Rome"},
    ]
    assert task.show(found) == "Ann Lee (PER); Rome (LOC)"
    assert task.show(answer(["O"] * 5)) == "nothing"
    assert json.loads(json.dumps(task.plain(found)))["tags"][1] == "I-PER"


def test_statistics_and_their_breakdown_by_type() -> None:
    rows = read_sentences([(["Ann", "Lee", "sees", "Rome", "."], ["B-PER", "I-PER", "O", "B-LOC", "O"])]).rows
    task = Tagging(("PER", "LOC"))
    outputs = [answer(["B-PER", "I-PER", "O", "O", "B-LOC"])]
    assert task.statistics(outputs, rows)["entity_f1"].tolist() == [[1, 2, 2]]
    assert task.statistics(outputs, rows)["invalid_tags"].tolist() == [[0, 1]]
    assert {kind: found["entity_f1"].tolist() for kind, found in task.breakdown(outputs, rows).items()} == {
        "PER": [[1, 1, 1]], "LOC": [[0, 1, 1]],
    }  # fmt: skip
    assert task.gold_texts(rows) == ["Ann Lee (PER); Rome (LOC)"]
    with pytest.raises(DataError, match="has no tags"):
        task.statistics(outputs, read_sentences(["Ann sees Rome."]).rows)


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


def test_a_prompt_answers_with_valid_tags_and_again_after_json(backbone: HuggingFaceBackbone) -> None:
    train, test = sentences(30), sentences(10, 1)
    task, prompt = make(train, Asked())
    made = task.predictor(prompt, backbone, train)
    found = made.answers(test)
    assert [len(one.tags) for one in found] == [len(one["words"]) for one in test.gold or ()]
    assert overall(task.statistics(found, test)["invalid_tags"], measure("invalid_tags")) == 0
    settings, state = json.loads(json.dumps([task.to_json(), made.state()]))
    again = entry("tag").task.from_json(settings).restored(prompt, backbone, state)
    assert again.answers(test) == found
    assert made.cut_rows(test) == ()
    sent, words = made.request(test)
    assert sent == prompt
    assert len(words) == sum(len(one.tags) for one in found)


def test_offsets_are_those_of_raw_text(backbone: HuggingFaceBackbone) -> None:
    train = sentences(30)
    task, prompt = make(train, Asked())
    text = "  We see\tParis,\nand Ann-Lee!"
    (found,) = task.predictor(prompt, backbone, train).answers(entry("tag").rows([text], None, None, False)[0])
    words = [text[start:end] for start, end in found.words]
    assert words == ["We", "see", "Paris", ",", "and", "Ann", "-", "Lee", "!"]
    assert all(text[span["start"] : span["end"]] == span["text"] for span in found.spans())


def test_scaling_puts_the_true_shares_back(backbone: HuggingFaceBackbone) -> None:
    train = sentences(30)
    task, prompt = make(train, Asked())
    given = np.exp(task.predictor(prompt, backbone, train).scores(train)[1]).mean(0)
    assert given == pytest.approx(
        np.array([120, 15, 30]) / 165, abs=0.01
    )  # four words of no type, and a place or two of a person
    raw = np.exp(Tagging(task.types, calibration="none").predictor(prompt, backbone, train).scores(train)[1]).mean(0)
    assert np.abs(raw - given).max() > 0.1


def test_the_prompt_says_what_is_asked() -> None:
    named = default_prompt(Tagging(("PER", "LOC")))
    assert named.field_names == ("text", "word")


def test_a_prompt_must_ask_about_words() -> None:
    with pytest.raises(PromptError, match="asks about no word"):
        make(sentences(4), Asked(prompt=parse("{text} [answer]")))


def test_a_type_that_only_other_rows_have_is_missed_and_no_error() -> None:
    train, odd = sentences(8), read_sentences([(["we", "see", "ACME"], ["O", "O", "B-ORG"])]).rows
    task, prompt = make(train, Asked())
    assert set(task.tuned_as(train, odd)[2].answers()) == {"O"}
    found = task.predictor(prompt, HuggingFaceBackbone(tiny()), train)
    (said,) = found.answers(odd)
    assert not any("ORG" in tag for tag in said.tags)
    assert task.statistics([said], odd)["entity_f1"][0, 2] == 1  # the entity that was there counts as missed
    assert found.cut_rows(odd) == ()


def test_rows_are_tagged_and_compared_as_they_are(backbone: HuggingFaceBackbone) -> None:
    rows = sentences(30)
    task, prompt = make(rows, Asked())
    tuned = Tuned(task.predictor(prompt, backbone, rows))
    texts = [row["text"] for row in rows][:3]
    assert [one.tags for one in tuned.predict(Rows.from_texts(texts))] == [one.tags for one in tuned.predict(texts)]
    assert [len(one.words) for one in tuned.predict(rows)] == [len(gold["words"]) for gold in rows.gold or ()]
    report = compare(rows, task="tag", model=backbone, methods=["majority"], budget="1ktokens")
    assert report.summary.best.main.value > 0.9  # places stand in both parts
    for verb in (
        lambda: compare(Rows.from_texts(texts), task="tag", model=backbone),
        lambda: tuned.predict(Rows(({"x": "a"},))),
    ):
        with pytest.raises(DataError, match="row 1 has no"):
            verb()


def test_a_damaged_state_is_refused(backbone: HuggingFaceBackbone) -> None:
    rows = sentences(30)
    task, prompt = make(rows, Asked())
    state = task.predictor(prompt, backbone, rows).state()
    assert task.restored(prompt, backbone, state).state() == state
    grammar, scaling = state["grammar"], state["scaling"]
    for damaged in (
        {**state, "grammar": {**grammar, "types": ["O", "PER"]}},
        {**state, "grammar": {**grammar, "steps": grammar["steps"][:-1]}},
        {**state, "grammar": {**grammar, "scale": float("nan")}},
        {**state, "scaling": {**scaling, "offsets": [0.0]}},
        {**state, "scaling": {**scaling, "weights": [[float("inf")] * 3] * 3}},
    ):
        with pytest.raises(ValueError, match="steps or a scaling of other types"):
            task.restored(prompt, backbone, damaged)
