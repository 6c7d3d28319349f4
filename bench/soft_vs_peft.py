"""Soft prompts against PEFT's prompt tuning: the same model, rows, steps, batch, optimiser, sweep and seeds.

    .venv/bin/python bench/soft_vs_peft.py [--steps 200] [--batch 8] [--seeds 3] [--out bench/soft_vs_peft.json]

Question types (sample:questions), 1,000 training rows of which 200 choose, all other rows as test. Both start as the words of
the written prompt before the text and keep the rest of it, so both have the same number of vectors in the same place; AdamW
with warm-up and cosine decay, and three learning rates tried on seed 0 for a third of the steps; the one with the best dev loss
is then used for all seeds. PEFT is trained as its documentation shows (the loss on the answer's tokens over the whole
vocabulary, right padding); it is scored on the label words, which is kinder to it than generating. pegbox is run with its
defaults but for steps, batch and rates: so it also has batch calibration and other looks at dev (128 rows, five times).
Zero-shot and tf-idf come along, on the same rows. Figures are accuracy on the test rows; steps, not seconds, are equal.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pegbox.api import open_backbone, task_and_prompt
from pegbox.backbone.source import materialise, resolve
from pegbox.data import dev_split, split
from pegbox.data.samples import load_sample
from pegbox.prompt import Text
from pegbox.recipe.run import Job, run
from pegbox.tune.budget import Budget
from pegbox.tune.orders import batch_rows
from pegbox.tune.trail import Trail

UNLIMITED = Budget(tokens=10**12)
OURS, THEIRS = (0.04, 0.08, 0.16), (3e-3, 1e-2, 3e-2)  # ours are in units of the embeddings' size (0.13), theirs are raw


def parts(seed: int, tested: int | None) -> tuple[Any, Any, Any]:
    """800 rows to learn from, 200 to choose on, and the other rows (or as many of them as were asked for)."""
    rest, chosen = split(load_sample("questions"), 1000, 0)
    train, dev = dev_split(chosen, seed)
    return train, dev, rest if tested is None else split(rest, tested, 0)[1]


def ours(backbone: Any, method: str, seed: int, tested: int | None, settings: dict[str, Any], budget: Budget) -> dict[str, Any]:
    """One run of pegbox."""
    train, dev, test = parts(seed, tested)
    task, prompt = task_and_prompt(train, None, None, "batch", False)
    trail = Trail(None)
    began = time.monotonic()
    outcome = run(Job(method, prompt, task, budget, seed, settings), backbone, train, dev, trail)
    took = time.monotonic() - began
    accuracy = float((outcome.predictor.predict_proba(test).argmax(1) == task.gold(test)).mean())
    best = (trail.of("best") or [None])[-1]
    return {"method": method, "seed": seed, "accuracy": accuracy, "seconds": took, "best": best}


def theirs(
    seed: int, steps: int, batch: int, rate: float, backbone: Any, tested: int | None, score_test: bool
) -> dict[str, Any]:
    """One run of PEFT's prompt tuning."""
    from peft import PromptTuningConfig, PromptTuningInit, TaskType, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    train, dev, test = parts(seed, tested)
    task, prompt = task_and_prompt(train, None, None, "batch", False)
    before, _, after, *_ = prompt
    assert isinstance(before, Text)
    assert isinstance(after, Text)
    layout = " {}" + after.text.rstrip()
    folder = str(materialise(resolve("smollm2")))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = {label: " " + some[0] for label, some in task.words.items()}
    vectors = len(tokenizer(before.text.rstrip())["input_ids"])
    config = PromptTuningConfig(
        task_type=TaskType.CAUSAL_LM,
        prompt_tuning_init=PromptTuningInit.TEXT,
        prompt_tuning_init_text=before.text.rstrip(),
        num_virtual_tokens=vectors,
        tokenizer_name_or_path=folder,
    )
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=backbone.loaded.model.dtype)
    model = get_peft_model(base, config)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    rise = max(1, round(0.06 * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: (s + 1) / rise if s < rise else 0.5 * (1 + math.cos(math.pi * (s - rise) / max(1, steps - rise)))
    )
    took, best, accuracy, kept = 0.0, math.inf, 0.0, trained[0].detach().clone()
    for step in range(steps):
        began = time.monotonic()
        rows = train.take(batch_rows(step, batch, len(train), seed))
        pairs = [(text, words[answer]) for text, answer in zip(rows.column(), rows.answers(), strict=True)]
        loss = model(**padded(tokenizer, layout, pairs)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        took += time.monotonic() - began
        if (step + 1) % max(1, steps // 3) == 0 or step + 1 == steps:
            scores, gold = label_scores(model, tokenizer, layout, dev, words), task.gold(dev)
            found = float(-scores[np.arange(len(dev)), gold].mean())
            if found < best:
                best, kept, accuracy = found, trained[0].detach().clone(), float((scores.argmax(1) == gold).mean())
    result = {"method": "peft", "seed": seed, "rate": rate, "dev_loss": best, "dev_accuracy": accuracy, "seconds": took}
    if score_test:
        with torch.no_grad():
            trained[0].copy_(kept)
        result["accuracy"] = float((label_scores(model, tokenizer, layout, test, words).argmax(1) == task.gold(test)).mean())
    return result


def padded(tokenizer: Any, layout: str, pairs: list[tuple[str, str]]) -> dict[str, torch.Tensor]:
    """A right-padded batch; only the answers' tokens are learned."""
    prompts = [tokenizer(layout.format(text))["input_ids"] for text, _ in pairs]
    answers = [tokenizer(answer)["input_ids"] for _, answer in pairs]
    width = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    ids = torch.full((len(pairs), width), tokenizer.eos_token_id)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, (p, a) in enumerate(zip(prompts, answers, strict=True)):
        ids[row, : len(p) + len(a)] = torch.tensor(p + a)
        mask[row, : len(p) + len(a)] = 1
        labels[row, len(p) : len(p) + len(a)] = torch.tensor(a)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@torch.no_grad()
def label_scores(model: Any, tokenizer: Any, layout: str, rows: Any, words: dict[str, str]) -> np.ndarray:
    """Log-probabilities of the label words' first tokens, which all differ here. Shape: [B, C]."""
    first = [tokenizer(word)["input_ids"][0] for word in words.values()]
    assert len(set(first)) == len(first)
    texts = rows.column()
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    found = np.zeros((len(texts), len(first)), dtype=np.float32)
    for start in range(0, len(order), 32):
        at = order[start : start + 32]
        inputs = padded(tokenizer, layout, [(texts[n], "") for n in at])
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        last = model.peft_config["default"].num_virtual_tokens + inputs["attention_mask"].sum(1) - 1
        chosen = logits[torch.arange(len(at)), last][:, first].float().log_softmax(-1)
        found[at] = chosen.numpy()
    return found


class Bench:
    """Runs the parts and keeps every result."""

    def __init__(self, steps: int, batch: int, seeds: int, tested: int | None, out: Path) -> None:
        self.steps, self.batch, self.seeds, self.tested, self.out = steps, batch, range(seeds), tested, out
        self.backbone = open_backbone("smollm2")
        self.results: list[dict[str, Any]] = []

    def keep(self, result: dict[str, Any]) -> dict[str, Any]:
        self.results.append(result)
        print(json.dumps(result), flush=True)
        self.out.write_text(json.dumps(self.results, indent=1), encoding="utf-8")
        return result

    def references(self) -> None:
        for seed in self.seeds:
            for method in ("zero-shot", "tfidf"):
                self.keep(ours(self.backbone, method, seed, self.tested, {}, Budget.parse("120s")))

    def soft(self) -> None:
        """The sweep with a third of the steps, then every seed with the rate that did best."""
        short = {"schedule.batch": self.batch, "schedule.steps": self.steps // 3, "schedule.learning_rates": OURS}
        swept = self.keep(ours(self.backbone, "soft", 0, self.tested, short, UNLIMITED) | {"sweep": True})
        rate = OURS[swept["best"]["variant"]]
        whole = {"schedule.batch": self.batch, "schedule.steps": self.steps, "schedule.learning_rates": (rate,)}
        for seed in self.seeds:
            self.keep(ours(self.backbone, "soft", seed, self.tested, whole, UNLIMITED) | {"rate": rate})

    def hybrid(self, budget: str) -> None:
        for seed in self.seeds:
            self.keep(ours(self.backbone, "hybrid", seed, self.tested, {}, Budget.parse(budget)))

    def peft(self) -> None:
        """The same sweep, and the same seeds."""
        sweep = [self.keep(theirs(0, self.steps // 3, self.batch, rate, self.backbone, None, False)) for rate in THEIRS]
        rate = min(sweep, key=lambda found: found["dev_loss"])["rate"]
        for seed in self.seeds:
            self.keep(theirs(seed, self.steps, self.batch, rate, self.backbone, self.tested, True))

    def summary(self) -> None:
        scored = [result for result in self.results if "accuracy" in result and not result.get("sweep")]
        for method in dict.fromkeys(result["method"] for result in scored):
            scores = [100 * result["accuracy"] for result in scored if result["method"] == method]
            print(f"{method:10} {np.mean(scores):5.1f} % (seeds: {', '.join(f'{s:.1f}' for s in scores)})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--hybrid-budget", default="120s")
    parser.add_argument("--test-rows", type=int, default=None, help="score only so many of the test rows")
    parser.add_argument("--parts", default="references,soft,hybrid,peft", help="comma-separated")
    parser.add_argument("--out", type=Path, default=Path("bench/soft_vs_peft.json"))
    chosen = parser.parse_args()
    bench = Bench(chosen.steps, chosen.batch, chosen.seeds, chosen.test_rows, chosen.out)
    for part in chosen.parts.split(","):
        if part == "hybrid":
            bench.hybrid(chosen.hybrid_budget)
        else:
            {"references": bench.references, "soft": bench.soft, "peft": bench.peft}[part]()
    bench.summary()


if __name__ == "__main__":
    main()
