import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.data.sentences import read_sentences
from pegbox.errors import BackboneError
from pegbox.metrics.measures import measure, overall
from pegbox.reference.crf import Crf, features_at, shape
from pegbox.reference.word_majority import WordMajority
from pegbox.reference.word_probe import WordProbe
from pegbox.task.entry import Asked
from pegbox.task.tag import make
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail

PLACES, PEOPLE = ("Paris", "Rome", "Oslo"), ("Ann", "Bob", "Eve")


def sentences(count: int, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        words = [f"x{seed}{number}", "saw", str(rng.choice(PEOPLE)), "Lee", "in", str(rng.choice(PLACES)), "."]
        made.append((words, ["O", "O", "B-PER", "I-PER", "O", "B-LOC", "O"]))
    return read_sentences(made).rows


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


def f1_of(method, backbone: HuggingFaceBackbone, trail: Trail | None = None):  # type: ignore[no-untyped-def]
    train, dev, test = sentences(30), sentences(8, 1), sentences(8, 2)
    task, prompt = make(train, Asked())
    spend = {"budget": Budget.parse("50ktokens"), "rng": np.random.default_rng(0), "trail": trail or Trail(None)}
    made = method.fit(prompt, task, backbone, train, dev, **spend)
    assert made.prompt is None
    assert made.parameters > 0
    assert made.nbytes > 0
    return overall(task.statistics(made.answers(test), test)["entity_f1"], measure("entity_f1"))


def test_words_are_looked_up(backbone: HuggingFaceBackbone) -> None:
    assert f1_of(WordMajority(), backbone) == 1.0
    train, task = sentences(3), make(sentences(3), Asked())[0]
    spend = {"budget": Budget.parse("1m"), "rng": np.random.default_rng(0), "trail": Trail(None)}
    made = WordMajority().fit(make(train, Asked())[1], task, backbone, train, train, **spend)
    (found,) = made.answers(read_sentences(["Unseen saw Lee"]).rows)
    assert found.tags == ("O", "O", "B-PER")


def test_a_probe_finds_words_by_their_features(backbone: HuggingFaceBackbone) -> None:
    trail = Trail(None)
    assert f1_of(WordProbe(layers=(0.5, 1.0)), backbone, trail) > 0.8  # bytes of few words: easy for any features
    assert len(trail.of("candidate")) == 4
    with pytest.raises(BackboneError, match="words' features"):
        f1_of(WordProbe(), object())  # type: ignore[arg-type]


def test_a_field_learns_names(backbone: HuggingFaceBackbone) -> None:
    pytest.importorskip("pycrfsuite")
    assert f1_of(Crf(), backbone) > 0.9


def test_what_a_field_sees_of_a_word() -> None:
    assert [shape(word) for word in ("McDonald", "U.S.", "1996-08-22", "EU", "a")] == ["XxXx", "X.X.", "0-0-0", "X", "x"]
    seen = features_at(["In", "Rome", "."], 0, 1)
    assert {"0:word=in", "1:word=rome", "1:shape=Xx", "-1:word=|", "begins=in", "ends=n"} <= set(seen)
    assert not [one for one in seen if one.startswith("-1:shape")]
