"""What a bound says of the whole vocabulary where the answer begins."""

import pytest
import torch

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.seam import Choices
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import parse

ROWS = Rows.from_texts(["ab", "a longer one", "c"])


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


def test_next_words_are_the_models_own_next_token_distribution(backbone: HuggingFaceBackbone) -> None:
    bound = backbone.bind(parse("Say: {text}\\nIt is[answer]"), ROWS, Choices(("x", "y")))
    found = bound.next_words([2, 1])
    assert found.shape == (2, 259)
    for at, row in enumerate((2, 1)):
        ids = torch.tensor([bound.contexts([row])[0]])
        logits = backbone.loaded.model(input_ids=ids).logits[0, -1]
        assert torch.allclose(found[at], logits.log_softmax(-1), atol=1e-4)


def test_next_words_agree_with_the_scores_of_single_token_answers(backbone: HuggingFaceBackbone) -> None:
    bound = backbone.bind(parse("Say: {text}\\nIt is[answer]"), ROWS, Choices(("x", "y")))
    words = bound.next_words([0, 1, 2])[:, [ord("x"), ord("y")]]
    assert torch.allclose(words.log_softmax(-1), bound.score([0, 1, 2])[0], atol=1e-4)
    assert torch.allclose(bound.next_words([0, 1, 2], [ord("x"), ord("y")]), bound.score([0, 1, 2])[0], atol=1e-4)


def test_next_words_of_no_rows_are_refused(backbone: HuggingFaceBackbone) -> None:
    with pytest.raises(PromptError, match="no rows to score"):
        backbone.bind(parse("{text}[answer]"), ROWS, Choices(("x", "y"))).next_words([])
