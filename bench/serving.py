"""Different prompts in one pass against one prompt, soft vectors against none, PEFT's switching, and many clients against one.

    .venv/bin/python bench/serving.py [--model smollm2] [--seconds 10] [--dtype auto]
    .venv/bin/python -m bench.serving --steady 120     # only latencies at 70 % of what 16 clients get, for two minutes

Prompts are random vectors: what they say does not matter to the clock. The first three are measured turn by turn, so that a
busy machine slows all alike. The clients go through HTTP, in this process, and check every label.
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from pegbox.artifact import Tuned
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.mixed import Standing, score_together
from pegbox.backbone.weights import load
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt, parse
from pegbox.task.classification import Classification
from pegbox.task.predictor import PromptPredictor

LABELS = ("person", "place", "number", "thing", "reason", "other")
SOFT, NONE = "[soft a 20]Question: {text}\nType: [answer]", "Question: {text}\nType: [answer]"
TEXTS = [f"What is the name of the {n} th river that flows through the town of {n * 7}?" for n in range(64)]
BATCH = 16
NEAR = {"float32": 1 - 1e-4, "bfloat16": 0.8}
"""A row's label must be as likely as its likeliest one alone, but for what rounding in a batch moves: in bfloat16 up to a tenth
of a share, for each of two that are near each other."""


def prompt(seed: int, width: int) -> Prompt:
    """A prompt with 20 vectors by chance."""
    vectors = 0.05 * np.random.default_rng(seed).normal(size=(20, width))
    return parse(SOFT.replace("\n", r"\n")).fill(a=vectors.astype(np.float32))


def batches(standings: Sequence[Standing]) -> Callable[[], int]:
    """A turn: 16 rows, each of the next prompt."""
    at = 0

    def turn() -> int:
        nonlocal at
        rows = [(standings[(at + n) % len(standings)], Rows.from_texts([TEXTS[(at + n) % len(TEXTS)]])) for n in range(BATCH)]
        at += BATCH
        score_together(rows)
        return BATCH

    return turn


def rates(turns: dict[str, Callable[[], int]], seconds: float) -> dict[str, float]:
    """Rows a second of each, by the median turn; measured in turn."""
    took: dict[str, list[float]] = {name: [] for name in turns}
    for turn in turns.values():
        for _ in range(8):  # every prompt's beginning is in the store
            turn()
    end = time.perf_counter() + seconds * len(turns)
    while time.perf_counter() < end:
        for name, turn in turns.items():
            began = time.perf_counter()
            count = turn()
            took[name].append((time.perf_counter() - began) / count)
    return {name: 1 / statistics.median(some) for name, some in took.items()}


def switching(backbone: HuggingFaceBackbone, count: int) -> Callable[[], int]:
    """PEFT with one adapter for each prompt, switched row by row."""
    import peft

    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=20, prompt_tuning_init="RANDOM")
    model = peft.get_peft_model(backbone.loaded.model, config, adapter_name="0")
    for number in range(1, count):
        model.add_adapter(str(number), config)
    at = 0

    @torch.no_grad()
    def turn() -> int:
        nonlocal at
        for _ in range(4):
            model.set_adapter(str(at % count))
            ids = torch.tensor([backbone.encode(f"Question: {TEXTS[at % len(TEXTS)]}\nType:")])
            model(input_ids=ids)
            at += 1
        return 4

    return turn


def clients(backbone: HuggingFaceBackbone, seconds: float, counts: Sequence[int]) -> None:
    """Rows a second and latencies with so many clients, one row a request; every label is checked."""
    import uvicorn

    from pegbox.serve.house import House
    from pegbox.serve.http import make_app

    with TemporaryDirectory() as folder:
        task = Classification(LABELS, calibration="none")
        expected = []
        for number in range(8):
            tuned = Tuned(PromptPredictor(prompt(number, backbone.width), task, backbone))
            tuned.save(Path(folder) / f"p{number}")
            expected.append([tuned.predict_proba([text])[0] for text in TEXTS[:8]])
        near = NEAR[backbone.dtype]
        server = uvicorn.Server(uvicorn.Config(make_app(House.build(Path(folder), backbone)), port=0, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1/prompts/p"

        def one(number: int) -> float:
            which, text = number % 8, number // 8 % 8
            body = json.dumps({"rows": [TEXTS[text]]}).encode()
            asked = urllib.request.Request(f"{url}{which}/predict", body, {"Content-Type": "application/json"})
            began = time.perf_counter()
            with urllib.request.urlopen(asked) as answer:
                label = json.load(answer)["predictions"][0]["label"]
            shares = expected[which][text]
            assert shares[LABELS.index(label)] >= near * max(shares), f"{label} of {shares.round(3)} to {TEXTS[text]!r}"
            return time.perf_counter() - began

        for count in counts:
            took: list[float] = []
            end = time.perf_counter() + seconds

            def client(start: int, count: int = count, end: float = end, took: list[float] = took) -> None:
                number = start
                while time.perf_counter() < end:
                    took.append(one(number))
                    number += count

            with ThreadPoolExecutor(count) as pool:
                list(pool.map(client, range(count)))
            p50, p99 = np.quantile(took, [0.5, 0.99])
            print(f"{count} clients: {len(took) / seconds:.1f} rows/s, p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms")
        server.should_exit = True
        thread.join()


def steady(model: str, dtype: str, seconds: float) -> None:
    """Latencies at 70 % of what 16 clients get at most, from a server in a process of its own; every label is checked."""
    from bench.loading import closed, paced, serving

    with serving(model, dtype) as lane:
        closed(lane, 16, 2)  # every prompt's beginning is in the store
        most = len(closed(lane, 16, 10)) / 10
        print(f"16 clients: {most:.1f} rows/s at most", flush=True)
        took = paced(lane, 16, 0.7 * most, seconds)
        p50, p99 = np.quantile(took, [0.5, 0.99])
        print(
            f"at {0.7 * most:.1f} rows/s for {seconds:g} s ({len(took)} rows, no wrong label): "
            f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, p99 / p50 {p99 / p50:.2f}"
        )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--steady", type=float, help="only so many seconds at 70 %% of the load of 16 clients")
    given = parser.parse_args()
    if given.steady:
        steady(given.model, given.dtype, given.steady)
        return
    backbone = HuggingFaceBackbone(load(given.model, given.dtype))
    many = [backbone.standing(prompt(seed, backbone.width), LABELS) for seed in range(given.prompts)]
    none = backbone.standing(parse(NONE.replace("\n", r"\n")), LABELS)
    turns = {"many": batches(many), "one": batches(many[:1]), "no vectors": batches([none])}
    found = rates(turns, given.seconds)
    print(", ".join(f"{name}: {rate:.1f} rows/s" for name, rate in found.items()))
    print(f"{given.prompts} prompts / one prompt: {found['many'] / found['one']:.3f}")
    print(f"20 vectors / none: {found['one'] / found['no vectors']:.3f}")
    clients(backbone, given.seconds, (1, 16))
    peft = rates({"peft": switching(backbone, 8)}, given.seconds)["peft"]
    print(f"PEFT switching row by row: {peft:.1f} rows/s; {given.prompts} prompts / PEFT: {found['many'] / peft:.2f}")


if __name__ == "__main__":
    main()
