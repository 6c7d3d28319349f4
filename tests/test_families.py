"""Masked and encoder-decoder models from a folder, with their families' own tokenizers: spelling, methods, what is refused."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaTokenizer,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

import pegbox
from pegbox.api import open_backbone
from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.backbone.seam import Choices, Targets
from pegbox.data.rows import Data, Rows, Sealed
from pegbox.errors import BackboneError, PromptError, SettingsError
from pegbox.export.peft import to_peft
from pegbox.prompt import parse
from pegbox.serve.settings import Limits
from pegbox.serve.start import Serving, serve
from pegbox.tune.lexicon import build_lexicon, single_words

Moods = Callable[[int, int], Rows]
KNOWN = ["good", "bad", "fine", "lovely", "bright", "sweet", "dull", "awful", "grey", "sour", "day", "classify", "the", "text"]
KNOWN += ["as", "or", "label", "mood", "review", "it", "is", "and", "yes", "no"]
SIGNS = [*string.ascii_lowercase, *string.digits, *".,:;!?'\"()[]<>/|_-#"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SPACE = "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}"  # how byte-level tokenizers write a space


def word_pieces() -> BertTokenizer:
    tokens = [*SPECIAL, *SIGNS, *(f"##{sign}" for sign in SIGNS), *KNOWN]
    return BertTokenizer(vocab={token: number for number, token in enumerate(tokens)})


def unigrams() -> T5Tokenizer:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((sign, -8.0) for sign in SIGNS)]
    return T5Tokenizer(vocab=[*pieces, *((f"▁{word}", -3.0) for word in KNOWN), ("<extra_id_0>", 0.0)], extra_ids=1)


def byte_pairs(kind: Any) -> Any:
    """A byte-level tokenizer in which each known word is one token, with a space before it and without."""
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: at for at, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *bytes_])}
    within = [(word[:end], word[end]) for word in KNOWN for end in range(1, len(word))]
    merges = list(dict.fromkeys([*within, *((SPACE, word) for word in KNOWN)]))
    for one, other in merges:
        vocabulary.setdefault(one + other, len(vocabulary))
    return kind(vocab=vocabulary, merges=merges)


def _model(family: str, size: int) -> Any:
    encoder: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    spread: dict[str, Any] = {"vocab_size": size, "initializer_range": 0.2}
    if family == "bert":
        return BertForMaskedLM(BertConfig(**encoder, **spread, max_position_embeddings=200))
    if family == "roberta":
        config = RobertaConfig(**encoder, **spread, max_position_embeddings=202, pad_token_id=1, bos_token_id=0, eos_token_id=2)
        return RobertaForMaskedLM(config)
    if family == "t5":
        sizes = {"d_model": 32, "d_ff": 64, "d_kv": 16, "num_layers": 2, "num_heads": 2}
        return T5ForConditionalGeneration(T5Config(vocab_size=size, **sizes, decoder_start_token_id=0))
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = BartConfig(vocab_size=size, d_model=32, **layers, **heads, max_position_embeddings=200, init_std=0.2)
    return BartForConditionalGeneration(config)


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "bert": word_pieces,
    "roberta": lambda: byte_pairs(RobertaTokenizer),
    "t5": unigrams,
    "bart": lambda: byte_pairs(BartTokenizer),
}
KINDS = {"bert": "masked", "roberta": "masked", "t5": "encoder-decoder", "bart": "encoder-decoder"}


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept in files lies apart from the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PEGBOX_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for family, make in TOKENIZERS.items():
        folder, tokenizer = tmp_path_factory.mktemp(family), make()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            _model(family, len(tokenizer)).eval().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        found[family] = folder
    return found


@pytest.fixture(scope="module")
def backbones(folders: dict[str, Path]) -> dict[str, LoadedBackbone]:
    return {family: open_backbone(str(folder), "float32", "cpu") for family, folder in folders.items()}


@pytest.fixture(params=list(TOKENIZERS))
def backbone(request: pytest.FixtureRequest, backbones: dict[str, LoadedBackbone]) -> LoadedBackbone:
    return backbones[request.param]


def pieces(backbone: LoadedBackbone, ids: Any) -> list[str]:
    return [str(token) for token in backbone.loaded.tokenizer.convert_ids_to_tokens(list(ids))]


# --- opened and spelled ---------------------------------------------------------------------------------------------------


def test_a_folder_is_opened_by_its_configuration(backbones: dict[str, LoadedBackbone]) -> None:
    assert {family: backbone.kind for family, backbone in backbones.items()} == KINDS
    assert {family: backbone.context for family, backbone in backbones.items()} == {
        "bert": 200,
        "roberta": 200,  # two of its 202 positions are none
        "t5": 1 << 20,
        "bart": 200,
    }


CONTEXTS = {
    "bert": "[CLS] mood : fine day it is",
    "roberta": f"<s> mood : {SPACE}fine {SPACE}day {SPACE}it {SPACE}is",
    "t5": "▁mood : ▁fine ▁day ▁it ▁is",
    "bart": f"<s> mood : {SPACE}fine {SPACE}day {SPACE}it {SPACE}is",
}


@pytest.mark.parametrize("family", list(TOKENIZERS))
def test_a_prompt_is_spelled_as_the_family_spells_it(family: str, backbones: dict[str, LoadedBackbone]) -> None:
    """Each piece by itself, the marks around it: [CLS] before and, counted but not listed here, [SEP] and its like after."""
    backbone = backbones[family]
    rows = Rows.from_texts(["fine day"])
    bound: Any = backbone.bind(parse("mood: {text} it is [answer]."), rows, Choices(("good", "bad")))
    (codes,) = bound.contexts([0])
    assert pieces(backbone, codes) == CONTEXTS[family].split()
    after = {"bert": [".", "[SEP]"], "roberta": [".", "</s>"], "t5": ["</s>"], "bart": ["</s>"]}
    assert pieces(backbone, bound.after) == after[family]
    assert backbone.context_lengths(parse("mood: {text} it is [answer]."), rows) == [len(codes) + len(after[family])]


def test_what_looks_like_a_mark_is_plain_text(backbone: LoadedBackbone) -> None:
    marks = {"[MASK]", "[SEP]", "<mask>", "</s>", "<extra_id_0>", "<pad>"}
    for mark in sorted(marks):
        assert not marks.intersection(pieces(backbone, backbone.encode(f"fine {mark} day")))


def test_words_for_labels_are_found_whether_or_not_their_tokens_hold_a_space(backbone: LoadedBackbone) -> None:
    for spaced in (True, False):
        found = single_words(backbone, spaced, shortest=3)
        assert {"good", "awful", "day"} <= set(found.values())
        for token, word in found.items():
            assert backbone.encode((" " if spaced else "") + word) == (token,)


def test_a_masked_models_lexicon_takes_no_first_tokens_for_words(backbones: dict[str, LoadedBackbone]) -> None:
    for family, own in (("bert", ()), ("t5", ((0,), (1,)))):
        backbone = backbones[family]
        logs, gold = np.zeros((8, len(backbone.vocabulary()[1]))), np.arange(8) % 2
        found = build_lexicon(logs, gold, [("days",), ("bad",)], backbone, True, 8, 3)
        assert found.own == own
        short = build_lexicon(logs, gold, [("day",), ("bad",)], backbone, True, 8, 3)
        assert short.words[:2] == ("day", "bad")
        assert short.own == ((0,), (1,))


def test_label_words_the_tokenizer_cannot_tell_apart_are_refused(backbones: dict[str, LoadedBackbone]) -> None:
    rows = Rows.from_texts(["fine day"])
    with pytest.raises(PromptError, match="'Good' and 'good' are the same tokens"):
        backbones["bert"].bind(parse("{text} [answer]"), rows, Choices(("Good", "good")))


def test_a_word_of_two_tokens_needs_two_masks_and_the_sums_are_brought_to_one(backbones: dict[str, LoadedBackbone]) -> None:
    """By hand: p(good) at one mask; p(day) p(##s) at two; divided by their sum."""
    backbone = backbones["bert"]
    model, tokenizer = backbone.loaded.model, backbone.loaded.tokenizer
    bound = backbone.bind(parse("mood: {text} it is [answer]."), Rows.from_texts(["fine day"]), Choices(("good", "days")))
    one = tokenizer("mood: fine day it is [MASK].", return_tensors="pt")["input_ids"]
    two = tokenizer("mood: fine day it is [MASK][MASK].", return_tensors="pt")["input_ids"]
    at = one[0].tolist().index(4)
    good, day, s = tokenizer.convert_tokens_to_ids(["good", "day", "##s"])
    with torch.no_grad():
        short, long = model(one).logits[0].softmax(-1), model(two).logits[0].softmax(-1)
    odds = torch.stack([short[at, good], long[at, day] * long[at + 1, s]])
    assert torch.allclose(bound.score([0])[0, 0].exp(), odds / odds.sum(), atol=1e-5)
    whole = backbone.bind(bound.prompt, Rows.from_texts(["fine day"]), Choices(("good", "days"), "vocabulary"))  # type: ignore[attr-defined]
    assert torch.allclose(whole.score([0])[0, 0].exp(), odds, atol=1e-5)


# --- cut, kept, spent, read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "roberta", "bart"])
def test_over_long_texts_are_cut_so_that_all_is_read(family: str, backbones: dict[str, LoadedBackbone]) -> None:
    backbone = backbones[family]
    rows = Rows.from_texts(["day " * 400, "fine day"])
    bound: Any = backbone.bind(parse("mood: {text} it is [answer]."), rows, Choices(("good", "days")))
    assert bound.cut_rows == (0,)
    long, _ = bound.contexts([0, 1])
    masks = 2 if KINDS[family] == "masked" else 0
    assert len(long) + len(bound.after) + masks == 200
    assert torch.isfinite(bound.score([0, 1])).all()
    with pytest.raises(PromptError, match=r"takes 2\d\d positions"):
        backbone.bind(parse("[hard h] {text} [answer]"), rows, Choices(("good", "bad"))).score([0], {"h": [[7] * 90]})


def test_a_target_takes_half_of_a_masked_models_room_and_all_of_a_decoders(backbones: dict[str, LoadedBackbone]) -> None:
    """BERT: half of what [CLS] mood : [SEP] and a mask leave of 200. BART: all of 200 but the two that it starts on."""
    rows, targets = Rows.from_texts(["day " * 400, "fine"]), Targets(("dull " * 400, "sweet"))
    for family, length in (("bert", (200 - 5) // 2), ("bart", 198)):
        bound: Any = backbones[family].bind(parse("mood: {text} [answer]"), rows, targets)
        assert bound.cut_rows == (0,)
        assert [len(ids) for ids in bound.targets] == [length, 1]
        assert torch.isfinite(bound.score([1])).all()


def test_an_encoders_readings_are_kept_where_nothing_is_live(backbones: dict[str, LoadedBackbone]) -> None:
    backbone = backbones["t5"]
    backbone.forget()
    rows, prompt = Rows.from_texts(["fine day", "dull"]), parse("mood: {text} it is [answer]")
    positions = sum(backbone.context_lengths(prompt, rows))

    def spent(prompt: str, words: tuple[str, ...], rows: Rows = rows) -> int:
        before = backbone.spent.forward
        backbone.bind(parse(prompt), rows, Choices(words)).score(range(len(rows)))
        return backbone.spent.forward - before

    first = spent("mood: {text} it is [answer]", ("good", "bad"))
    assert first == positions + 1 + 2  # one position tells how much room each takes; the decoder begins with one token
    assert spent("mood: {text} it is [answer]", ("yes", "no")) == 1 + 2
    alone = rows.take([0])
    assert spent("it is {text} [answer]", ("yes", "no"), alone) == spent("it is {text} [answer]", ("yes", "no"), alone) > 1


def test_features_are_means_and_last_states_of_each_text_alone(backbone: LoadedBackbone) -> None:
    texts = ["", "fine", "a much longer text than the others, so that there is padding"]
    found = backbone.features(Rows.from_texts(texts), layers=(0.0, 0.5, 1.0))
    model: Any = backbone.loaded.model
    reader = model.get_encoder() if backbone.kind == "encoder-decoder" else model.base_model
    for at, text in enumerate(texts):
        ids = torch.tensor([backbone.loaded.tokenizer(text)["input_ids"]])
        states = reader(input_ids=ids, output_hidden_states=True).hidden_states
        want = torch.stack([torch.stack([state[0].mean(0), state[0, -1]]) for state in states])
        assert np.abs(found[at] - want.detach().numpy()).max() < 1e-4


def test_embeddings_are_what_the_model_reads_for_these_ids(backbone: LoadedBackbone) -> None:
    ids = backbone.encode("fine day")
    model: Any = backbone.loaded.model
    more = {"decoder_input_ids": torch.tensor([[0]])} if backbone.kind == "encoder-decoder" else {}
    by_ids = model(input_ids=torch.tensor([ids]), **more).logits
    assert torch.allclose(model(inputs_embeds=backbone.embed(ids)[None], **more).logits, by_ids, atol=1e-5)


# --- writing --------------------------------------------------------------------------------------------------------------


def test_writing_stops_where_it_should_and_follows_its_seed(backbones: dict[str, LoadedBackbone]) -> None:
    backbone, rows = backbones["bart"], Rows.from_texts(["fine day", "dull", "a b c"])
    prompt = parse("mood: {text} it is [answer]")
    free = backbone.generate(prompt, rows, max_tokens=12)
    assert any(len(text) > 3 for text in free)
    mark = next(text for text in free if len(text) > 3)[2]
    assert backbone.generate(prompt, rows, max_tokens=12, stop=[mark]) == [text.split(mark)[0] for text in free]
    drawn = backbone.generate(prompt, rows, max_tokens=12, temperature=1.5, seed=1)
    assert backbone.generate(prompt, rows, max_tokens=12, temperature=1.5, seed=1) == drawn
    assert backbone.generate(prompt, rows.take([0]), max_tokens=12, temperature=1.5, seed=1) == drawn[:1]
    assert backbone.generate(prompt, rows, max_tokens=12, temperature=1.5, seed=2) != drawn
    before = backbone.spent.forward
    backbone.generate(prompt, rows, max_tokens=3)
    assert backbone.spent.forward - before <= 1 + 3 * (
        2 + 2
    )  # the readings are kept: two tokens to begin with, then one at a time
    with pytest.raises(SettingsError, match=r"max_tokens=500\n  expected: at most 199"):
        backbone.generate(prompt, rows, max_tokens=500)
    with pytest.raises(SettingsError, match="temperature=-1"):
        backbone.generate(prompt, rows, temperature=-1)


# --- methods --------------------------------------------------------------------------------------------------------------

METHODS = ["majority", "zero-shot", "few-shot", "probe", "search", "soft", "hybrid", "lora"]


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_every_kind_of_method_runs(family: str, folders: dict[str, Path], moods: Moods, tmp_path: Path) -> None:
    data = Data(moods(60, 1), Sealed(moods(60, 3)), moods(30, 2), ())
    report = pegbox.compare(
        data,
        methods=METHODS,
        model=str(folders[family]),
        budget="40ktokens",
        dtype="float32",
        device="cpu",
        settings={"soft": {"schedule.batch": 8}, "hybrid": {"second.schedule.batch": 8}},
    )
    accuracy = {line["method"]: line["accuracy"] for line in report.table()}
    assert set(accuracy) == set(METHODS)
    assert accuracy["majority"] == pytest.approx(40 / 60)


@pytest.mark.parametrize("family", ["roberta", "bart"])
def test_a_tuned_prompt_comes_back_and_goes_nowhere_that_it_cannot(
    family: str, folders: dict[str, Path], moods: Moods, tmp_path: Path
) -> None:
    model = str(folders[family])
    tuned = pegbox.tune(moods(30, 1), method="soft", model=model, budget="8ktokens", dtype="float32", device="cpu")
    shelf = tmp_path / "shelf"
    tuned.save(shelf / "moods")
    again = pegbox.load(shelf / "moods", device="cpu")
    rows = moods(20, 5)
    np.testing.assert_array_equal(again.predict_proba(rows), tuned.predict_proba(rows))
    kind = KINDS[family]
    with pytest.raises(BackboneError, match=f"exporting to PEFT's prompt tuning with '.*', which is of the kind {kind}"):
        to_peft(shelf / "moods", tmp_path / "peft")
    with pytest.raises(BackboneError, match=f"serving with '.*', which is of the kind {kind}") as caught:
        serve(Serving(shelf, model, "float32", "cpu"), Limits())
    assert caught.value.expected == "a causal model"


def test_training_on_target_texts_is_refused_for_a_masked_model(backbones: dict[str, LoadedBackbone]) -> None:
    backbone = backbones["bert"]
    bound = backbone.bind(parse("{text} [soft s 2] [answer]"), Rows.from_texts(["fine"]), Targets(("day",)))
    assert torch.isfinite(bound.score([0], {"s": torch.zeros(1, 2, 32)})).all()
    with pytest.raises(BackboneError, match="training on target texts with BertForMaskedLM, a masked model"):
        bound.score([0], {"s": torch.zeros(1, 2, 32, requires_grad=True)})
