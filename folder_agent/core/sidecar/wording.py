"""How a sidecar's own words are told on in messages: bounded, cleaned, and of wrong shapes only the outline."""

from __future__ import annotations

import json
from decimal import Decimal

from folder_agent.core import normalising
from folder_agent.core.errors import Problem

MAX_TOLD = 50  # unknown keys, and wrong entries of `files`: nobody reads more
MAX_KEY = 64  # characters of a key in a message
MAX_SHOWN = 200  # characters of a wrong value in a message


class Unreadable(Exception):
    """Nothing can be said of the fields; never leaves this package."""

    def __init__(self, code: str, **values: str | int) -> None:
        super().__init__(code)
        self.problem = Problem(code, values=tuple(values.items()))


def outline(value: object) -> str:
    """What kind of thing it is, in signs that need no translation; never the thing itself."""
    kinds = ((list, "[…]"), (dict, "{…}"), (str, '"…"'), (bool, "true/false"), ((int, Decimal), "0…9"))
    return next((sign for kind, sign in kinds if isinstance(value, kind)), "null")


def shown(value: object, most: int = MAX_SHOWN) -> str:
    """A wrong value, such that it can be written anywhere."""
    if isinstance(value, (list, dict)):
        value = outline(value)
    text = normalising.clean(str(value) if isinstance(value, (str, Decimal)) else json.dumps(value))
    return text if len(text) <= most else text[: most - 1] + "…"
