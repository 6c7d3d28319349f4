import numpy as np

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.data.words import word_spans

TEXT = "Ann saw, at last, Rome."


def test_a_words_features_are_the_mean_over_its_own_tokens(tiny_backbone: HuggingFaceBackbone) -> None:
    words = word_spans(TEXT)
    found = tiny_backbone.word_features([TEXT], [words], (0.5, 1.0))
    assert found.shape == (len(words), 2, tiny_backbone.width)
    # tiny reads bytes: the features of the text so far, summed, grow by a word's own positions
    ends = [end for _, end in words]
    whole = tiny_backbone.features(Rows.from_texts([TEXT[:end] for end in ends]), (0.5, 1.0))[:, :, 0]
    start = 1  # the token that begins every text
    sums = [mean * (end + start) for mean, end in zip(whole, ends, strict=True)]
    second = (sums[1] - sums[0]) / (ends[1] - ends[0])
    np.testing.assert_allclose(found[1], second, atol=1e-4)


def test_batches_do_not_matter_and_long_texts_are_read_in_parts() -> None:
    backbone = HuggingFaceBackbone(tiny())
    texts = ["one two", TEXT, "word " * 900]
    words = [word_spans(text) for text in texts]
    together = backbone.word_features(texts, words)
    apart = [backbone.word_features([text], [some]) for text, some in zip(texts, words, strict=True)]
    np.testing.assert_allclose(together, np.concatenate(apart), atol=1e-4)
    assert len(together) == sum(map(len, words))
    assert backbone.context < len(texts[2])
