"""Digests: what makes two specs, files or folders the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

__all__ = ["digest_bytes", "digest_file", "digest_folder", "digest_json"]


def digest_bytes(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest_json(value: object) -> str:
    """SHA-256 of ``value`` as canonical JSON: mapping keys sorted, records by field, no white space."""
    return digest_bytes(msgspec.json.encode(value, order="deterministic"))


def digest_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(path: Path | str) -> str:
    """SHA-256 over the relative names and digests of all files below ``path``."""
    root = Path(path)
    entries = [
        (file.relative_to(root).as_posix(), digest_file(file)) for file in sorted(root.rglob("*")) if file.is_file()
    ]
    return digest_json(sorted(entries))
