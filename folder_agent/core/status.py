"""What is waited for, in plain words, and what a person is told of a bundle or of the whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from folder_agent.core.catalogue import Language, explain
from folder_agent.core.errors import Problem
from folder_agent.core.records import BundleRecord, Counts


@dataclass(frozen=True, slots=True)
class Phrase:
    """The same words in both languages."""

    zh: str
    en: str


_NOUNS = (
    ("images", ("张影像", "image", "images")),
    ("reports", ("份结构化报告", "structured report", "structured reports")),
    ("pdfs", ("份 PDF", "PDF", "PDFs")),
    ("series", ("个序列", "series", "series")),
)


def missing_words(declared: Counts, found: Counts, in_all: Counts | None = None) -> Phrase | None:
    """ "2 of 14 images, 1 PDF": what the declared counts still lack; None when they are met.

    A kind of which nothing has come yet, and only one is expected, is named without "of". `in_all` is what there is
    with what was delivered before, for a kind of which that is more than is wanted.
    """
    zh, en = [], []
    for attribute, (noun_zh, one, many) in _NOUNS:
        wanted, there = getattr(declared, attribute), getattr(found, attribute) or 0
        if wanted is None or there >= wanted:
            continue
        every = getattr(in_all, attribute, None) or 0
        more_zh, more_en = (f"(与先前送达的共 {every})", f" ({every} with those)") if every > wanted else ("", "")
        lacking = wanted - there
        words = f"{lacking} {noun_zh}" if wanted == lacking else f"{wanted} {noun_zh}中的 {lacking} {noun_zh[0]}"
        zh.append(words + more_zh)
        noun = one if wanted == 1 else many
        en.append((f"{lacking} {noun}" if wanted == lacking else f"{lacking} of {wanted} {noun}") + more_en)
    return Phrase("、".join(zh), ", ".join(en)) if zh else None


def reason_text(reasons: Iterable[Problem], language: Language, *, most: int = 3) -> str:
    """The first few reasons as one line."""
    listed = [explain(reason, language) for reason in reasons]
    more = len(listed) - most
    joint = ";" if language == "zh" else "; "
    tail = (f" …(另有 {more} 项)" if language == "zh" else f" … ({more} more)") if more > 0 else ""
    return joint.join(listed[:most]) + tail


def oldest_waiting_s(oldest_open_at: float | None, now: float) -> float | None:
    """How long the oldest bundle that is not shelved has been waiting, in seconds."""
    return None if oldest_open_at is None else max(0.0, now - oldest_open_at)


def label(bundle: BundleRecord) -> str:
    """How a bundle is called in logs: its drop folder, number and name."""
    return f"{bundle.drop}#{bundle.id} {bundle.name}"
