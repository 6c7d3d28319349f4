"""PEFT's prefix tuning and p-tuning, both ways: logits are equal, whatever encoder the vectors were learned through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.numpy import load_file

from pegbox.artifact import Tuned, load
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.loaded import Loaded
from pegbox.backbone.seam import Choices
from pegbox.backbone.tiny import tiny, tiny_family
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.export.peft import from_peft, to_peft
from pegbox.prompt import parse
from pegbox.task.classification import Classification
from pegbox.task.predictor import PromptPredictor

PEFTS_OWN = "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
DEEP = '[deep s 4]{text}: [answer bad="awful" good="fine"]'
MODELS: dict[str, Callable[[], Loaded]] = {"llama": tiny, "gpt2": lambda: tiny_family("gpt2")}
CONFIGS: dict[str, tuple[Callable[..., Any], str]] = {
    "prefix": (lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), DEEP),
    "prefix through a projection": (
        lambda: peft.PrefixTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=16
        ),
        DEEP,
    ),
    "p-tuning": (
        lambda: peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=16),
        DEEP.replace("deep", "soft"),
    ),
}


def stirred(model: Any) -> Any:
    """The adapter's numbers made other than they begin, as tuning would."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.prompt_encoder.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.filterwarnings(PEFTS_OWN)
@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("model", MODELS)
def test_a_folder_that_peft_wrote_scores_here_as_there(model: str, kind: str, tmp_path: Path) -> None:
    config, notation = CONFIGS[kind]
    loaded = MODELS[model]()
    backbone = HuggingFaceBackbone(MODELS[model]())
    theirs = stirred(peft.get_peft_model(loaded.model, config()))
    theirs.save_pretrained(tmp_path / "peft")
    from_peft(tmp_path / "peft", tmp_path / "made", backbone, notation)
    found = load(tmp_path / "made", backbone).predict_proba(["dull", "so fine"])
    for text, chances in zip(["dull", "so fine"], found, strict=True):
        ids = torch.tensor([list(f"{text}: ".encode())])  # a token is a byte: " awful" and " fine" part after the space
        logits = theirs(input_ids=ids).logits[0, -1, [ord("a"), ord("f")]]
        np.testing.assert_allclose(chances, logits.softmax(-1).detach(), atol=1e-4)


@pytest.mark.filterwarnings(PEFTS_OWN)
@pytest.mark.parametrize("model", MODELS)
def test_a_deep_slot_goes_to_peft_and_comes_back(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = MODELS[model]()
    backbone = HuggingFaceBackbone(loaded)
    rows = np.random.default_rng(0).normal(0, 0.5, (4, backbone.deep_width)).astype(np.float32)
    prompt = parse(DEEP).fill(s=rows)
    task = Classification(("bad", "good"), {"bad": ("awful",), "good": ("fine",)}, "none")
    tuned = Tuned(PromptPredictor(prompt, task, backbone))
    tuned.save(tmp_path / "prompt")
    monkeypatch.setattr("pegbox.artifact._backbone", lambda *_: backbone)
    to_peft(tmp_path / "prompt", tmp_path / "peft")
    assert "4 keys and values a layer" in (tmp_path / "peft" / "README.md").read_text()
    from_peft(tmp_path / "peft", tmp_path / "again")
    np.testing.assert_array_equal(load(tmp_path / "again", backbone).predict_proba(["a"]), tuned.predict_proba(["a"]))
    bound = backbone.bind(prompt, Rows.from_texts(["so dull"]), Choices(("fine", "awful")))
    expected = bound.next_words([0])[0]
    theirs = peft.PeftModel.from_pretrained(loaded.model, tmp_path / "peft")
    found = theirs(input_ids=torch.tensor([list(b"so dull:")])).logits[0, -1].log_softmax(-1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    np.testing.assert_array_equal(load_file(tmp_path / "peft" / "adapter_model.safetensors")["prompt_embeddings"], rows)


@pytest.mark.filterwarnings(PEFTS_OWN)
def test_a_slot_of_the_wrong_kind_is_told(tmp_path: Path) -> None:
    loaded = tiny()
    config, notation = CONFIGS["prefix"]
    peft.get_peft_model(loaded.model, config()).save_pretrained(tmp_path / "peft")
    backbone = HuggingFaceBackbone(tiny())
    with pytest.raises(PromptError, match="one deep slot, before everything else"):
        from_peft(tmp_path / "peft", tmp_path / "made", backbone, notation.replace("deep", "soft"))
    with pytest.raises(PromptError, match=r"for \[deep s 5\] on a model of width"):
        from_peft(tmp_path / "peft", tmp_path / "made", backbone, notation.replace("4", "5"))
    with pytest.raises(PromptError, match=r"\[deep s 4\] Review"):
        from_peft(tmp_path / "peft", tmp_path / "made")
