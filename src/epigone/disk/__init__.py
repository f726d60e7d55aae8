"""The only code that knows how bytes reach the disk: whole or not at all."""

from epigone.disk.atomic_write import atomic_folder, atomic_write, write_bytes, write_json, write_text
from epigone.disk.digest import digest_bytes, digest_file, digest_folder, digest_json
from epigone.disk.jsonl import append_jsonl, iter_jsonl, read_json, read_jsonl, write_jsonl
from epigone.disk.yaml_file import read_yaml, write_yaml

__all__ = [
    "append_jsonl",
    "atomic_folder",
    "atomic_write",
    "digest_bytes",
    "digest_file",
    "digest_folder",
    "digest_json",
    "iter_jsonl",
    "read_json",
    "read_jsonl",
    "read_yaml",
    "write_bytes",
    "write_json",
    "write_jsonl",
    "write_text",
    "write_yaml",
]
