"""pegbox beside the libraries people use now: same rows, model, number type and threads, in turns.

    make bench
    bench/.venv/bin/python -m bench [--only short,scoring] [--repeats 5] [--threads 2] [--dtype auto] [--out FOLDER]

Writes results.json and results.md, into this package's folder unless told otherwise.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from bench import children, predicting, training
from bench.bars import NO_BFLOAT16
from bench.figures import Figure
from bench.rate import matrix_rates
from bench.results import FOLDER, Results
from bench.scoring import Sizes, scoring
from bench.setting import Setting
from pegbox.backbone.dtype import choose_dtype, knows_bfloat16

FEWER = Sizes((4, 32), (2, 32), (2, 16), (1, 8), (1, 2))
"""For a first look."""


def parts(sizes: Sizes) -> dict[str, Callable[[Setting], list[Figure]]]:
    """What can be measured, in the order of measuring."""
    return {
        "short": training.short,
        "variants": training.variants,
        "prediction": predicting.prediction,
        "scoring": lambda setting: scoring(setting, sizes),
        "long": training.long,
    }


def alone(setting: Setting, threads: int, only: set[str]) -> dict[str, float]:
    """What runs in processes of its own."""
    found: dict[str, float] = {}
    if "cold" in only:
        found["cold predict"] = children.cold_prediction(setting)
    if "memory" in only:
        for who, name in (("after", "pegbox"), ("first", "pegbox, slot first"), ("peft", "peft")):
            found[f"memory {name}"] = children.peak_megabytes(who, setting.dtype, threads)
    return found


def number_types(asked: str) -> tuple[list[str], list[str]]:
    """Which to measure, and what to say of those left out."""
    if asked != "auto":
        return asked.split(","), []
    if knows_bfloat16():
        notes = (
            [] if choose_dtype("auto", "cpu") == "bfloat16" else [f"{NO_BFLOAT16[0].upper()}{NO_BFLOAT16[1:]}: see the rates."]
        )
        return ["float32", "bfloat16"], notes
    return ["float32"], ["bfloat16 is left out: this machine lacks its instructions, and imitating them is many times slower."]


def main() -> None:
    given = _arguments()
    torch.set_num_threads(given.threads)
    _hush()
    types, notes = number_types(given.dtype)
    command = " ".join(["python -m bench", *sys.argv[1:]])
    results = Results(command, given.threads, given.repeats, given.out, notes=notes)
    only = set(given.only.split(","))
    for dtype in types:
        _measure(Setting(dtype, given.repeats), results, only, FEWER if given.fewer else Sizes())
    print(f"\n{results.markdown()}\n\nWritten to {given.out / 'results.json'} and results.md.")


def _hush() -> None:
    """Progress bars and advice of the peers would bury the figures."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("dspy").setLevel(logging.CRITICAL)


def _measure(setting: Setting, results: Results, only: set[str], sizes: Sizes) -> None:
    results.rates[setting.dtype] = matrix_rates(setting.decoder, setting.torch_dtype, setting.repeats)
    print(f"matrix rate, {setting.dtype}: {results.floor[setting.dtype]:.0f} GFLOP/s", flush=True)
    for name, run in parts(sizes).items():
        if name in only:
            results.figures += run(setting)
            results.write()
    results.measured |= alone(setting, results.threads, only)
    results.write()


def _arguments() -> argparse.Namespace:
    ask = argparse.ArgumentParser("bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = ",".join([*parts(Sizes()), "cold", "memory"])
    ask.add_argument("--only", default=every, help=f"comma-separated, of {every}")
    ask.add_argument("--repeats", type=int, default=5)
    ask.add_argument("--threads", type=int, default=torch.get_num_threads())
    ask.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or several with commas")
    ask.add_argument("--out", type=Path, default=FOLDER)
    ask.add_argument("--fewer", action="store_true", help="fewer candidates and rows, for a first look")
    given = ask.parse_args()
    if unknown := set(given.only.split(",")) - set(every.split(",")):
        ask.error(f"no part named {', '.join(sorted(unknown))}; there are {every}")
    return given


if __name__ == "__main__":
    main()
