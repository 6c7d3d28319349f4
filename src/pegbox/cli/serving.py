"""The commands that serve prompts: serve and key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pegbox.cli.options import Device, Dtype, Model

KeyFile = Annotated[Path, typer.Argument(help="The file of keys; it is made if it is not there.", metavar="FILE")]


def serve(
    prompts: Annotated[Path, typer.Argument(help="A folder of tuned prompts.", show_default=False, metavar="PROMPTS")],
    model: Model = "smollm2",
    host: Annotated[str, typer.Option(help="Where to listen; others than this machine need --keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 8000,
    keys: Annotated[Path | None, typer.Option(help="A file of keys that `pegbox key` wrote.")] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    cache_bytes: Annotated[
        int | None, typer.Option(help="For kept keys and values; default: a quarter of free memory.")
    ] = None,
    queue_rows: Annotated[int, typer.Option(help="The most rows that wait before requests are told to come again.")] = 4096,
    batch_rows: Annotated[int, typer.Option(help="The most rows that are under way at once.")] = 32,
    rows: Annotated[int, typer.Option(help="The most rows in one request.")] = 1024,
    text_characters: Annotated[int, typer.Option(help="The most characters in one text.")] = 100_000,
    body_bytes: Annotated[int, typer.Option(help="The largest body of a request, or upload.")] = 16_000_000,
    seconds: Annotated[float, typer.Option(help="How long a request may take.")] = 120.0,
    log: Annotated[Path | None, typer.Option(help="A file to write the log into, in place of stderr.")] = None,
    log_texts: Annotated[bool, typer.Option("--log-texts", help="Write the rows' texts into the log too.")] = False,
    upstream: Annotated[
        str | None, typer.Option(help="A vLLM server that answers in place of a model here: prompts are put into its requests.")
    ] = None,
    upstream_model: Annotated[str | None, typer.Option(help="Its name for the model; default: its only one.")] = None,
    upstream_key: Annotated[
        str, typer.Option(help="The environment variable that holds the upstream's key.", metavar="VARIABLE")
    ] = "PEGBOX_UPSTREAM_KEY",
    content_format: Annotated[
        str, typer.Option(help="How the upstream joins a message's parts: string or openai; vLLM logs it at its start.")
    ] = "string",
    drop_calibration: Annotated[
        bool, typer.Option("--drop-calibration", help="Carry prompts to the upstream without their calibration.")
    ] = False,
    embed_here: Annotated[
        bool, typer.Option("--embed-here", help="Load --model here for its words' vectors: any prompt can then go upstream.")
    ] = False,
) -> None:
    """Serve a folder of tuned prompts over one model, by HTTP: pegbox's own interface and OpenAI's."""
    from pegbox.serve.settings import Limits
    from pegbox.serve.start import Behind, Serving
    from pegbox.serve.start import serve as start

    limits = Limits(
        body_bytes=body_bytes,
        rows=rows,
        text_characters=text_characters,
        queue_rows=queue_rows,
        batch_rows=batch_rows,
        seconds=seconds,
    )
    behind = (
        None
        if upstream is None
        else Behind(upstream, upstream_model, upstream_key, content_format, drop_calibration, embed_here)
    )
    start(Serving(prompts, model, dtype, device, host, port, keys, cache_bytes, behind, log, log_texts), limits)


def key(
    file: KeyFile,
    name: Annotated[str, typer.Option(help="Whose key it is, for the log; an earlier one of this name ends.")] = "default",
    role: Annotated[str, typer.Option(help="use, or admin: one that may also upload and delete prompts.")] = "use",
) -> None:
    """Make a key for `pegbox serve --keys FILE`. It is printed once; the file keeps only its digest."""
    from pegbox.serve.keys import add_key

    print(add_key(file, name, role))
