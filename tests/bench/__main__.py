"""`python -m tests.bench [--json | --markdown] [--quick] [--only TEXT …] [--list]`: measure, and print one table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.bench.measures import Sizes, measure, names
from tests.bench.table import as_json, as_markdown, as_text, from_json


def main() -> None:
    """Progress goes to stderr, the table to stdout."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="a list of rows instead of a table")
    parser.add_argument("--markdown", action="store_true", help="the README's table")
    parser.add_argument("--from", dest="earlier", metavar="FILE", help="show what --json has printed, measure nothing")
    parser.add_argument("--quick", action="store_true", help="small amounts: shows that it works, measures little")
    parser.add_argument(
        *("--only", "-o"),
        action="append",
        metavar="TEXT",
        help="rows whose name holds all of the words, such as 'ct / Orthanc' or 'storescu'; may be repeated",
    )
    parser.add_argument("--list", action="store_true", help="the names of the rows")
    given = parser.parse_args()
    sizes = Sizes.quick() if given.quick else Sizes()
    if given.list:
        print("\n".join(names(sizes)))
        return

    def wanted(name: str) -> bool:
        return not given.only or any(all(word in name.split() for word in text.split()) for text in given.only)

    if given.earlier:
        rows = from_json(Path(given.earlier).read_text(encoding="utf-8"))
    else:
        rows = measure(sizes, lambda text: print(f"… {text}", file=sys.stderr), wanted)
    print(as_json(rows) if given.json else as_markdown(rows) if given.markdown else as_text(rows))


if __name__ == "__main__":
    main()
