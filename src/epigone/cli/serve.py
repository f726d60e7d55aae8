"""``epigone serve MODEL``: an OpenAI-compatible server for a model on this machine."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from epigone.specs import parse_spec


def serve(
    model: Annotated[str, typer.Argument(help="Folder or hub id of a Hugging Face causal language model.")],
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8000,
    dtype: Annotated[str, typer.Option(help="auto, float64, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; all by default.")] = None,
    batch_rows: Annotated[int, typer.Option(help="Sequences decoded side by side.")] = 64,
    gguf_file: Annotated[str | None, typer.Option(help="GGUF file inside the folder.")] = None,
    name: Annotated[str | None, typer.Option(help="Name to serve it under; folder and digest by default.")] = None,
) -> None:
    """Serve a model at /v1/chat/completions and /v1/completions, with dynamic batching."""
    from epigone.models import LocalSpec
    from epigone.models.local import load_local
    from epigone.models.serving import serve as run

    fields = {"hf": model, "dtype": dtype, "device": device, "threads": threads, "batch_rows": batch_rows}
    spec = parse_spec(LocalSpec, fields | {"gguf_file": gguf_file, "name": name}, where="epigone serve")
    console = Console(stderr=True)
    loaded = load_local(spec)

    def announce(bound: int) -> None:
        size = f"{loaded.parameters or 0:,} parameters, {loaded.dtype}"
        said = f"{loaded.name} ({size})\nbase_url: http://{host}:{bound}/v1  (Ctrl-C stops it)"
        console.print(said, markup=False, highlight=False, soft_wrap=True)

    run(loaded, host, port, announce=announce)
