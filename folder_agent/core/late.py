"""Images that lie loose, and that no sidecar speaks of: those of one study that was delivered go together. Pure.

In a folder of their own they are a group already (grouping.py), whatever is known of their study.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from folder_agent.core.grouping import Group, Member


def by_delivered_study(
    loose: Iterable[Member], is_delivered: Callable[[str], bool]
) -> tuple[list[Group], tuple[Member, ...]]:
    """One group for each study of which something was delivered, and the files that are of none."""
    studies: dict[str, list[Member]] = defaultdict(list)
    rest: list[Member] = []
    for member in loose:
        study = member.finding.dicom.study if member.finding is not None and member.finding.dicom else None
        (rest if study is None else studies[study]).append(member)
    groups = []
    for study, found in studies.items():
        if is_delivered(study):
            files = tuple(sorted(found, key=lambda member: member.path))
            groups.append(Group(f"#{study}", _name(files) or study, "", False, (), files))  # no file is called so
        else:
            rest += found
    return groups, tuple(rest)


def _name(files: Sequence[Member]) -> str | None:
    """The accession number, if all that name one name the same."""
    facts = [member.finding.dicom for member in files if member.finding is not None and member.finding.dicom]
    numbers = {one.accession for one in facts if one.accession}
    return numbers.pop() if len(numbers) == 1 else None
