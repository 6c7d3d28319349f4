"""The commands that list what there is: methods and samples."""

from __future__ import annotations

from typing import Annotated

import typer

from pegbox.cli.options import Json
from pegbox.cli.printing import print_json, written


def methods(
    settings: Annotated[bool, typer.Option("--settings", help="Each method's settings and their defaults.")] = False,
    task: Annotated[str | None, typer.Option(help="Only those that can do this task, such as tag.")] = None,
    as_json: Json = False,
) -> None:
    """List the methods."""
    from pegbox.recipe.methods import METHODS, able
    from pegbox.recipe.settings import settings_of

    listed = list(METHODS.values() if task is None else able(task).values())
    known = {m.name: dict(settings_of(m.make())) if settings else {} for m in listed}
    if as_json:
        names = ("name", "kind", "summary", "tasks")
        print_json([{**{name: getattr(m, name) for name in names}, "settings": known[m.name]} for m in listed])
        return
    for m in listed:
        print(f"{m.name:18} {m.kind:10} {m.summary}")
        for key, value in known[m.name].items():
            print(f"    {key}={written(value)}")


def samples(as_json: Json = False) -> None:
    """List the sample data sets that can be fetched, with licence and source."""
    from pegbox.data.samples import SAMPLES
    from pegbox.data.tagged_samples import TAGGED_SAMPLES

    if as_json:
        names = ("name", "description", "rows", "task", "labels", "licence", "source")
        print_json([{name: getattr(s, name) for name in names} for s in (*SAMPLES.values(), *TAGGED_SAMPLES.values())])
        return
    for s in SAMPLES.values():
        what = f"labels {', '.join(s.labels)}" if s.labels else f"for --task {s.task}"
        print(f"sample:{s.name}: {s.description}; {s.rows} rows, {what}")
        print(f"    source: {s.source}\n    licence: {s.licence}")
    for t in TAGGED_SAMPLES.values():
        print(f"sample:{t.name} (--task tag): {t.description}; {t.rows} sentences, types {', '.join(t.labels)}")
        if more := list(t.parts)[1:]:
            named = ", ".join(f"{t.name}/{part}" for part in more)
            print(f"    parts to be named after it: {named}; a comparison is scored on the last")
        print(f"    source: {t.source}\n    licence: {t.licence}")
