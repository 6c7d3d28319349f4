"""Prompts that leave for PEFT, vLLM or plain text, and come back."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.numpy import load_file, save_file

from pegbox.artifact import Tuned, load
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.loaded import Loaded
from pegbox.backbone.seam import Choices
from pegbox.backbone.tiny import tiny, tiny_family
from pegbox.cli import main
from pegbox.data.rows import Rows
from pegbox.errors import ArtifactError, PegboxError, PromptError
from pegbox.export.peft import from_peft, to_peft
from pegbox.export.text import to_text
from pegbox.export.vllm import to_vllm
from pegbox.prompt import parse
from pegbox.task.calibration import Calibration
from pegbox.task.classification import Classification
from pegbox.task.predictor import PromptPredictor

TEXTS = ["a fine day", "so dull", ""]
FIRST = "[soft a 5]Review: {text} Mood: [answer]"
PEFTS_OWN = "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
CHAT = '[system] Sort. [user] Mind [soft a 3] this: {text} [hard h="now"] [assistant] [answer]'


def saved(notation: str, folder: Path, backbone: HuggingFaceBackbone) -> Tuned:
    rng = np.random.default_rng(0)
    prompt = parse(notation)
    vectors = {name: rng.normal(0, 0.3, (s.length, backbone.width)) for name, s in prompt.slots.items() if hasattr(s, "length")}
    prompt = prompt.fill(**{name: some.astype(np.float32) for name, some in vectors.items()})
    task = Classification(("bad", "good"), {"bad": ("awful", "poor"), "good": ("fine",)})
    tuned = Tuned(PromptPredictor(prompt, task, backbone, Calibration("batch", (0.25, -0.5))))
    tuned.save(folder)
    return tuned


def with_start_token(loaded: Loaded) -> Loaded:
    """The same model, whose tokenizer begins every text with its start token, as Llama's does."""
    from tokenizers.processors import TemplateProcessing

    start = loaded.tokenizer.bos_token
    loaded.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, loaded.tokenizer.bos_token_id)]
    )
    return loaded


MODELS: dict[str, Callable[[], Loaded]] = {
    "llama": tiny,
    "gpt2": lambda: tiny_family("gpt2"),
    "gemma2": lambda: tiny_family("gemma2"),
    "with a start token": lambda: with_start_token(tiny()),
}


@pytest.mark.filterwarnings(PEFTS_OWN)
@pytest.mark.parametrize("model", MODELS)
def test_peft_gives_the_same_logits(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = MODELS[model]()
    backbone = HuggingFaceBackbone(loaded)
    tuned = saved(FIRST, tmp_path / "prompt", backbone)
    monkeypatch.setattr("pegbox.artifact._backbone", lambda *_: backbone)
    to_peft(tmp_path / "prompt", tmp_path / "peft")
    theirs = peft.PeftModel.from_pretrained(loaded.model, tmp_path / "peft")
    bound = backbone.bind(tuned.prompt, Rows.from_texts(TEXTS), Choices(("fine", "awful")))
    for at, text in enumerate(TEXTS):
        spelled = " ".join(filter(None, ["Review:", text])) + " " * (not text) + " Mood:"
        ids = torch.tensor([list(spelled.encode())])
        found = theirs(input_ids=ids).logits[0, -1].log_softmax(-1)
        torch.testing.assert_close(found, bound.next_words([at])[0], atol=1e-4, rtol=0)


def test_what_went_to_peft_comes_back(tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    tuned = saved(FIRST, tmp_path / "prompt", tiny_backbone)
    main(["export", str(tmp_path / "prompt"), "--to", "peft", "--out", str(tmp_path / "peft")])
    main(["import", str(tmp_path / "peft"), "--out", str(tmp_path / "again")])
    np.testing.assert_array_equal(load(tmp_path / "again").predict_proba(TEXTS), tuned.predict_proba(TEXTS))
    card = (tmp_path / "peft" / "README.md").read_text()
    assert FIRST in card
    assert "bad +0.2500, good -0.5000" in card
    changed = load_file(tmp_path / "peft" / "adapter_model.safetensors")
    save_file({name: found + 1 for name, found in changed.items()}, tmp_path / "peft" / "adapter_model.safetensors")
    with pytest.raises(ArtifactError, match="other vectors than the artifact in it"):
        from_peft(tmp_path / "peft", tmp_path / "third")


@pytest.mark.filterwarnings(PEFTS_OWN)
def test_a_folder_that_peft_itself_wrote_comes_in(tmp_path: Path) -> None:
    loaded = tiny()
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4, prompt_tuning_init="RANDOM")
    theirs = peft.get_peft_model(loaded.model, config)
    theirs.save_pretrained(tmp_path / "peft")
    notation = '[soft s 4]{text}: [answer bad="awful" good="fine"]'
    main(["import", str(tmp_path / "peft"), "--out", str(tmp_path / "made"), "--model", "tiny", "--prompt", notation])
    found = load(tmp_path / "made").predict_proba(["dull"])[0]
    ids = torch.tensor([list(b"dull: ")])  # a token is a byte: " awful" and " fine" part after the space
    logits = theirs(input_ids=ids).logits[0, -1, [ord("a"), ord("f")]]
    np.testing.assert_allclose(found, logits.softmax(-1).detach(), atol=1e-4)
    with pytest.raises(PromptError, match="which holds vectors alone"):
        from_peft(tmp_path / "peft", tmp_path / "other")
    with pytest.raises(PromptError, match=r"vectors of shape \(4, 64\) for \[soft s 5\]"):
        from_peft(tmp_path / "peft", tmp_path / "other", HuggingFaceBackbone(loaded), notation.replace("4", "5"))


@pytest.mark.parametrize(
    "notation", ["Mind [soft a 5]{text}[answer]", "[soft a 2]{text}[soft b 2][answer]", "{text}[answer]", CHAT]
)
def test_what_peft_cannot_hold_is_refused(notation: str, tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    saved(notation, tmp_path / "prompt", tiny_backbone)
    with pytest.raises(PromptError, match="one soft or deep slot, before everything else"):
        to_peft(tmp_path / "prompt", tmp_path / "peft")
    assert not (tmp_path / "peft").exists()


@pytest.mark.parametrize(
    "content", [{"peft_type": "LORA"}, {"peft_type": "PREFIX_TUNING"}, {"peft_type": "PROMPT_TUNING"}, {}, []]
)
def test_other_folders_are_refused(content: Any, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(content))
    with pytest.raises(ArtifactError):
        from_peft(tmp_path, tmp_path / "made")


def client_in(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("exported_client", folder / "client.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_vllm_client_puts_the_vectors_where_the_slot_stands(tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    tuned = saved(CHAT, tmp_path / "prompt", tiny_backbone)
    main(["export", str(tmp_path / "prompt"), "--to", "vllm", "--out", str(tmp_path / "vllm"), "--content-format", "openai"])
    system, user = client_in(tmp_path / "vllm").messages({"text": "so {text} dull"}, torch.bfloat16)
    assert system == {"role": "system", "content": [{"type": "text", "text": "Sort."}]}
    assert user["role"] == "user"
    parts = user["content"]
    assert [part.get("text") for part in parts] == ["Mind", None, " this: so {text} dull now"]
    assert parts[1]["type"] == "prompt_embeds"
    sent = torch.load(io.BytesIO(base64.b64decode(parts[1]["data"])), weights_only=True)
    vectors = torch.tensor(tuned.prompt.slots["a"].vectors)  # type: ignore[union-attr]
    assert sent.dtype == torch.bfloat16
    assert torch.equal(sent, vectors.bfloat16())


def test_the_new_line_that_vllm_writes_between_parts_is_left_to_it(tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    notation = r"[user] Mind\n[soft a 3][soft b 1]\n{text}. [assistant] [answer]"
    tuned = saved(notation, tmp_path / "prompt", tiny_backbone)
    main(["export", str(tmp_path / "prompt"), "--to", "vllm", "--out", str(tmp_path / "vllm")])
    (user,) = client_in(tmp_path / "vllm").messages({"text": "so dull"}, torch.float32)
    assert [part.get("text") for part in user["content"]] == ["Mind", None, "so dull."]
    sent = torch.load(io.BytesIO(base64.b64decode(user["content"][1]["data"])), weights_only=True)
    np.testing.assert_array_equal(sent, np.concatenate([tuned.prompt.slots[name].vectors for name in "ab"]))  # type: ignore[union-attr]
    saved(CHAT, tmp_path / "other", tiny_backbone)
    with pytest.raises(PromptError, match="meet vectors on one line"):
        to_vllm(tmp_path / "other", tmp_path / "second")


@pytest.mark.parametrize("notation", [FIRST, "[user] [soft a 3]{text} [assistant] Mood: [answer]"])
def test_what_vllms_chat_cannot_hold_is_refused(notation: str, tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    saved(notation, tmp_path / "prompt", tiny_backbone)
    with pytest.raises(PromptError, match="a chat whose last turn begins with the answer"):
        to_vllm(tmp_path / "prompt", tmp_path / "vllm")


def test_plain_text(tmp_path: Path, tiny_backbone: HuggingFaceBackbone, capsys: pytest.CaptureFixture[str]) -> None:
    saved('[hard h="Sort \\[it\\]."] {text}[soft a 3] Mood: [answer]', tmp_path / "prompt", tiny_backbone)
    main(["export", str(tmp_path / "prompt"), "--to", "text"])
    told = capsys.readouterr()
    assert told.out == "Sort [it]. {text} Mood:\n"
    assert "the answer for bad: awful or poor" in told.err
    assert "3 learned vectors were left out" in told.err
    saved(CHAT, tmp_path / "chat", tiny_backbone)
    assert to_text(tmp_path / "chat").text == "system: Sort.\n\nuser: Mind  this: {text} now\n\nassistant:"


def test_an_export_overwrites_nothing(tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    saved(FIRST, tmp_path / "prompt", tiny_backbone)
    with pytest.raises(PegboxError, match="is there already"):
        to_peft(tmp_path / "prompt", tmp_path / "prompt")
