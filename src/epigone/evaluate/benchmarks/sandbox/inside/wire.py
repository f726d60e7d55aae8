"""Plain values as one line of JSON that keeps their types apart: what crosses between the two sandboxed processes.

Only numbers, texts, bytes, None and containers of these can cross, as exactly these types. So an object whose ``==``
always says yes, or whose ``repr`` does mischief, never reaches the process that checks.
"""

import json
from typing import Any

LONGEST_LINE = 8_000_000  # characters

_CONTAINERS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


def encode(value: object) -> str:
    """One line for ``value``; TypeError for anything that is not plain."""
    return json.dumps(_pack(value))


def decode(line: str) -> Any:
    """The value of one line; ValueError for a line that is too long or no such value."""
    if len(line) > LONGEST_LINE:
        raise ValueError("the answer is too long")
    return _unpack(json.loads(line))


def _pack(value: Any) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind.__name__ in _CONTAINERS and kind is _CONTAINERS[kind.__name__]:
        return {kind.__name__: [_pack(one) for one in value]}
    if kind is dict:
        return {"dict": [[_pack(key), _pack(one)] for key, one in value.items()]}
    if kind is bytes:
        return {"bytes": value.hex()}
    if kind is complex:
        return {"complex": [value.real, value.imag]}
    raise TypeError(f"a value of type {kind.__name__} cannot be returned")


def _unpack(packed: Any) -> Any:
    if not isinstance(packed, dict):
        if isinstance(packed, list):
            raise ValueError("a bare array")
        return packed
    ((kind, content),) = packed.items()
    if kind in _CONTAINERS:
        return _CONTAINERS[kind](_unpack(one) for one in content)
    if kind == "dict":
        return {_unpack(key): _unpack(one) for key, one in content}
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "complex":
        return complex(*content)
    raise ValueError(f"no such kind: {kind}")
