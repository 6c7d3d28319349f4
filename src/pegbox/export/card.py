"""A tuned prompt's card: what it is, what it was tuned on, how well it did, how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pegbox.artifact import read_folder, read_prompt
from pegbox.export.place import written_labels
from pegbox.export.text import to_text
from pegbox.prompt import VectorSlot, format
from pegbox.prompt.names import Name


def card(artifact: Path, name: Name, where: str) -> str:
    """A README.md with the head that model hubs read. It names no licence: that is up to whoever publishes it.

    Settings:
        where: what `pegbox pull` finds it under.
    """
    prompt = read_prompt(artifact)
    manifest, content = read_folder(artifact)
    vectors = sum(slot.length for slot in prompt.slots.values() if isinstance(slot, VectorSlot))
    model = manifest["model"]
    words = to_text(artifact).words
    return f"""{_head(model["name"])}
# {name}

A prompt that pegbox tuned for a frozen model, by the method `{manifest.get("method")}`: {vectors}
learned vectors among its words. In pegbox's notation:

    {format(prompt)}

- Model: `{model["name"]}`, width {model["width"]}, digest `{model["digest"]}`. It loads on that very model alone.
- Task: {content.get("task", "classify")}.

{written_labels(words)}
## Scores

{_scores(manifest)}
## Use

    pegbox pull {where} {name} --out {name.base}
    pegbox predict {name.base} new.csv

```python
import pegbox

pegbox.load("{name.base}").predict(["a text"])
```

No licence is stated here: whoever publishes this prompt says which one holds. The model has its own.
"""


def _head(model: str) -> str:
    """The part that model hubs read; the base model where it is one of a hub."""
    based = f"base_model: {model}\n" if model.count("/") == 1 and not model.startswith((".", "/", "~")) else ""
    return f"---\nlibrary_name: pegbox\ntags:\n- prompt-tuning\n{based}---\n"


def _scores(manifest: Mapping[str, Any]) -> str:
    scored = [one for one in manifest.get("evaluations", ()) if "accuracy" in one]
    lines = [
        f"- {Path(str(one['source'])).name}: {100 * one['accuracy']:.1f} % right of {one['rows']} rows"
        f" (opening {one['opening']})\n"
        for one in scored
    ]
    dev = manifest.get("scores", {}).get("dev_accuracy")
    if dev is not None:
        lines.append(f"- {100 * dev:.1f} % on the rows that it was chosen by: no fair score\n")
    return "".join(lines) or "None was written down.\n"
