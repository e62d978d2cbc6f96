"""Where each file of a bundle goes on its shelf. Pure: after a crash the same paths lead to the same places."""

from __future__ import annotations

from collections.abc import Sequence

RECEIPT = "receipt.json"
WHY = "WHY.txt"
_OUR_NOTES = frozenset({RECEIPT.casefold(), WHY.casefold()})


def places(paths: Sequence[str]) -> dict[str, str]:
    """For each path in the drop folder, its path inside the bundle's folder on the shelf.

    What all files share is left out, the rest is kept as it was dropped. An earlier note of ours that came back with
    a dropped-back folder makes room for the new one.
    """
    shared = shared_folder(paths)
    inside = {path: path[len(shared) :] for path in paths}
    taken = {place.casefold() for place in inside.values()}
    for path, place in inside.items():
        if place.casefold() in _OUR_NOTES:
            inside[path] = _free_name(place, taken)
    return inside


def shared_folder(paths: Sequence[str]) -> str:
    """The deepest folder that holds every path, with its slash; "" is the drop folder itself."""
    if not paths:
        return ""
    first, last = min(paths).split("/")[:-1], max(paths).split("/")[:-1]
    shared = []
    for one, other in zip(first, last, strict=False):
        if one != other:
            break
        shared.append(one)
    return "".join(f"{part}/" for part in shared)


def _free_name(place: str, taken: set[str]) -> str:
    stem, _, extension = place.rpartition(".")
    name = f"{stem} (earlier).{extension}"
    number = 2
    while name.casefold() in taken:
        name = f"{stem} (earlier) ({number}).{extension}"
        number += 1
    taken.add(name.casefold())
    return name
