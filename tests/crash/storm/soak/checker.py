"""The judgement: every breach of the promise in an outcome, in words, and the exam that it is about. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.crash.storm.soak.exams import Exam, Word
from tests.crash.storm.soak.outcome import Asked, Item, Lying, Outcome

MOST_RSS = 250 * 1024 * 1024  # bytes
MOST_FDS = 150
_STATES = {"done": "DONE", "failed": "REFUSED"}


@dataclass(frozen=True, slots=True)
class Complaint:
    """One breach. `exam` is a number, or 0 where it is about none."""

    exam: int
    text: str

    def __str__(self) -> str:
        return f"{f'exam {self.exam}: ' if self.exam else ''}{self.text}"


def complaints(outcome: Outcome) -> list[Complaint]:
    """Everything that is wrong; empty if the promise was kept."""
    return [
        *(Complaint(0, error) for error in outcome.errors),
        *(Complaint(0, f"it said: {line}") for line in outcome.said),
        *_every_byte_is_in_one_place(outcome),
        *_each_exam_ended_as_it_had_to(outcome),
        *_nobody_is_mixed_up(outcome),
        *_the_gateway_holds_what_was_sent(outcome),
        *_nothing_was_half_sent(outcome),
        *_the_last_word_is_right(outcome),
        *_nothing_known_was_sent_again(outcome),
        *_receipts_agree(outcome),
        *_the_ledger_agrees(outcome),
        *_it_stayed_small(outcome),
    ]


def _every_byte_is_in_one_place(outcome: Outcome) -> Iterator[Complaint]:
    found: dict[str, list[Lying]] = defaultdict(list)
    for one in outcome.lying:
        found[one.digest].append(one)
    for digest in outcome.owed.keys() | found.keys():
        owed, there = outcome.owed[digest], found.get(digest, [])
        number = outcome.owner.get(digest, 0)
        where = [f"{one.shelf} {one.folder}/{one.path}" for one in there]
        if digest not in outcome.owner:
            yield Complaint(0, f"nobody ever dropped {where}")
        elif len(there) < owed:
            yield Complaint(number, f"lost: {digest[:8]} was dropped {owed} x, and lies in {where}")
        elif len(there) > owed:
            yield Complaint(number, f"there too often: {digest[:8]}, owed {owed} x, lies in {where}")


def _each_exam_ended_as_it_had_to(outcome: Outcome) -> Iterator[Complaint]:
    for one in outcome.lying:
        exam = outcome.exams.get(outcome.owner.get(one.digest, 0))
        if exam is not None and one.shelf != exam.ending:
            yield Complaint(exam.number, f"{one.path} lies in {one.shelf}, and not in {exam.ending}")
        if one.shelf == "failed" and one.folder not in outcome.why:
            yield Complaint(outcome.owner.get(one.digest, 0), f"{one.folder} does not say why")
    newest = {one.accession: one for one in outcome.bundles if one.accession is not None}
    for exam in outcome.exams.values():
        wanted, there = _STATES.get(exam.ending), newest.get(exam.accession)
        if wanted is not None and (there is None or there.state != wanted or there.is_open):
            yield Complaint(exam.number, f"its bundle is {there}, and not {wanted}")


def _nobody_is_mixed_up(outcome: Outcome) -> Iterator[Complaint]:
    whose: dict[str, set[int]] = defaultdict(set)
    for one in outcome.lying:
        if one.shelf != "drop":
            whose[one.folder].add(outcome.owner.get(one.digest, 0))
        if one.shelf == "done" and one.digest in outcome.strays:
            yield Complaint(outcome.owner[one.digest], f"another patient's image is in {one.folder}")
    for folder, numbers in whose.items():
        if len(numbers) > 1:
            yield Complaint(min(numbers), f"{folder} holds files of several exams: {sorted(numbers)}")
    for asked in outcome.asked:
        for item in asked.items:
            exam = outcome.exams.get(outcome.owner.get(item.digest, 0))
            if exam is None:
                yield Complaint(0, f"the gateway was sent what nobody dropped: {item}")
            elif item.digest in outcome.strays or (item.study, item.accession) != (exam.study, exam.accession):
                yield Complaint(
                    exam.number, f"the gateway was sent another patient's image, or under another: {_shown(item)}"
                )


def _the_gateway_holds_what_was_sent(outcome: Outcome) -> Iterator[Complaint]:
    allowed: dict[int, set[str]] = defaultdict(set)
    reports = {item.digest for asked in outcome.asked for item in asked.items if item.sop is None and item.is_taken}
    for exam in outcome.exams.values():
        for word in exam.words:
            allowed[exam.number] |= {*word.images.values(), *word.reports}
        for sop, digest in (exam.words[-1].images if exam.words and exam.ending == "done" else {}).items():
            if outcome.held.get(sop) != digest:
                yield Complaint(exam.number, f"the gateway has {outcome.held.get(sop)} for {sop}, and not {digest}")
        for digest in (exam.words[-1].reports if exam.words and exam.ending == "done" else frozenset()) - reports:
            yield Complaint(exam.number, f"the gateway has no report {digest[:8]}")
    for asked in outcome.asked:
        for item in asked.items:
            number = outcome.owner.get(item.digest, 0)
            if number and item.digest not in allowed[number]:
                yield Complaint(number, f"was sent, and never had to be: {_shown(item)}")


def _shown(item: Item) -> str:
    return f"{item.sop or 'a report'} {item.digest[:8]} as {item.study} {item.accession}"


def _nothing_was_half_sent(outcome: Outcome) -> Iterator[Complaint]:
    arrived: set[str] = set()
    for asked in outcome.asked:
        arrived |= {item.digest for item in asked.items if item.is_taken}
        if asked.post is None:
            continue
        exam, word = _told_of(outcome, asked)
        if exam is None or word is None:
            yield Complaint(exam.number if exam else 0, f"the gateway was told what nobody wrote: {dict(asked.post)}")
        elif missing := {*word.images.values(), *word.reports} - arrived:
            yield Complaint(exam.number, f"was posted before {len(missing)} of its files had arrived")


def _told_of(outcome: Outcome, asked: Asked) -> tuple[Exam | None, Word | None]:
    post = asked.post or {}
    digits = str(post.get("accessNumber", ""))[1:]
    exam = outcome.exams.get(int(digits)) if digits.isdigit() else None
    return exam, next((word for word in (exam.words if exam else ()) if _says(post, word)), None)


def _says(post: Mapping[str, Any], word: Word) -> bool:
    return all(post.get(name) == value for name, value in word.fields.items())


def _the_last_word_is_right(outcome: Outcome) -> Iterator[Complaint]:
    last: dict[int, Word] = {}
    for asked in outcome.asked:
        exam, word = _told_of(outcome, asked) if asked.post is not None else (None, None)
        if exam is None or word is None:
            continue
        before = last.get(exam.number)
        if before is not None and exam.words.index(word) < exam.words.index(before):
            yield Complaint(exam.number, f"an older word came after a newer one: {word.fields['studyDesc']}")
        last[exam.number] = word
    for exam in outcome.exams.values():
        said = last.get(exam.number)
        if exam.ending == "done" and said != exam.words[-1]:
            yield Complaint(exam.number, f"the gateway's last word is {said.fields if said else None}")
        if exam.ending != "done" and said is not None:
            yield Complaint(exam.number, f"was told to the gateway, and ends in {exam.ending}")


def _nothing_known_was_sent_again(outcome: Outcome) -> Iterator[Complaint]:
    """What the ledger had noted before a request began is no part of that request."""
    noted: dict[tuple[str, str], float] = {}
    for one in outcome.known:
        key = (one.accession, one.digest)
        noted[key] = min(one.at, noted.get(key, one.at))
    for asked in outcome.asked:
        for item in asked.items:
            number = outcome.owner.get(item.digest, 0)
            exam = outcome.exams.get(number)
            at = noted.get((exam.accession, item.digest)) if exam else None
            if at is not None and asked.signed_at > at:
                yield Complaint(number, f"{_shown(item)} was sent at {asked.signed_at}, though it was known at {at}")
    committed: dict[str, float] = {}
    for bundle in outcome.bundles:
        if bundle.accession is not None and bundle.committed_at is not None:
            committed[bundle.accession] = max(bundle.committed_at, committed.get(bundle.accession, 0.0))
    for asked in outcome.asked:
        exam, _ = _told_of(outcome, asked)
        if asked.post is not None and exam is not None and asked.signed_at > committed.get(exam.accession, 0.0):
            yield Complaint(exam.number, f"was posted at {asked.signed_at}, though it had been committed for good")


def _receipts_agree(outcome: Outcome) -> Iterator[Complaint]:
    there: dict[str, dict[str, str]] = defaultdict(dict)
    for one in outcome.lying:
        there[one.folder][one.path] = one.digest
    for receipt in outcome.receipts:
        number = next((outcome.owner.get(digest, 0) for digest in there[receipt.folder].values()), 0)
        if receipt.text is None:
            yield Complaint(number, f"{receipt.folder} has no receipt")
            continue
        sent = {entry["path"]: entry["sha256"] for entry in receipt.text["files"]}
        unsent = {entry["path"] for entry in receipt.text["notSent"]}
        files = {path: digest for path, digest in there[receipt.folder].items() if path not in unsent}
        if sent != files:
            yield Complaint(number, f"the receipt in {receipt.folder} tells of {sent}, and there lies {files}")
        exam = outcome.exams.get(number)
        if exam is not None and not any(_says(receipt.text["exam"], word) for word in exam.words):
            yield Complaint(number, f"the receipt in {receipt.folder} tells of an exam that nobody wrote")


def _the_ledger_agrees(outcome: Outcome) -> Iterator[Complaint]:
    waits = any(one.shelf == "drop" for one in outcome.lying)
    if outcome.reconciled != (3 if waits else 0):
        yield Complaint(0, f"reconcile ended with {outcome.reconciled}")
    for difference in outcome.differences:
        yield Complaint(0, f"reconcile: {difference}")
    for bundle in outcome.bundles:
        if bundle.is_open and bundle.state != "GATHERING":
            yield Complaint(0, f"still open: {bundle}")


def _it_stayed_small(outcome: Outcome) -> Iterator[Complaint]:
    if outcome.peaks.rss > MOST_RSS:
        yield Complaint(0, f"the agent used {outcome.peaks.rss / 1e6:.0f} MB of memory")
    if outcome.peaks.fds > MOST_FDS:
        yield Complaint(0, f"the agent had {outcome.peaks.fds} files and sockets open")
