"""JSON for people to read, line by line, as `json.dumps(…, ensure_ascii=False, indent=2)` writes it. Pure.

The standard library's own encoder is a Python generator as soon as it indents: of delivering a small exam, writing its
receipt took longer than signing, posting and reading the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring as quoted

_STEP = "  "


def indented(value: object, _line: str = "\n") -> str:
    """The value as JSON: dictionaries (whose keys are strings), lists and tuples over several lines."""
    if type(value) is str:
        return quoted(value)
    inner = _line + _STEP
    if type(value) is dict or isinstance(value, Mapping):
        if not value:
            return "{}"
        pairs = [
            f"{quoted(name)}: {quoted(one) if type(one) is str else indented(one, inner)}"
            for name, one in value.items()
        ]
        return f"{{{inner}{f',{inner}'.join(pairs)}{_line}}}"
    if isinstance(value, list | tuple):
        if not value:
            return "[]"
        return f"[{inner}{f',{inner}'.join([indented(one, inner) for one in value])}{_line}]"
    return quoted(value) if isinstance(value, str) else json.dumps(value)
