"""`python -m tests.bench [--json] [--quick]`: measure, and print one table."""

from __future__ import annotations

import argparse
import sys

from tests.bench.measures import Sizes, measure
from tests.bench.table import as_json, as_text


def main() -> None:
    """Progress goes to stderr, the table to stdout."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="a list of rows instead of a table")
    parser.add_argument("--quick", action="store_true", help="small amounts: shows that it works, measures little")
    given = parser.parse_args()
    rows = measure(Sizes.quick() if given.quick else Sizes(), lambda text: print(f"… {text}", file=sys.stderr))
    print(as_json(rows) if given.json else as_text(rows))


if __name__ == "__main__":
    main()
