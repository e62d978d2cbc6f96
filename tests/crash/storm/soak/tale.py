"""The story of one exam, for whoever has to find out: what was written, what the ledger noted, what the gateway saw,
and what went wrong around it. Reads the ledger and the gateway's journal."""

from __future__ import annotations

from tests.crash.storm.soak.exams import Exam
from tests.crash.storm.soak.havoc import Diary
from tests.crash.storm.soak.stage import Stage

_MOST = 300  # lines


def tale_of(exam: Exam, stage: Stage, diary: Diary) -> str:
    """All of it in the order of time."""
    lines = [(float(line.partition(" ")[0]), f"pacs     {line.partition(' ')[2]}") for line in exam.log]
    with stage.site.reading() as ledger:
        if ledger is not None:
            found = [*ledger.find_bundles(exam.accession), *ledger.find_bundles(exam.name)]
            for bundle in {one.id: one for one in found}.values():
                lines.append((bundle.changed_at, f"ledger   #{bundle.id} {bundle.name} is {bundle.state}"))
                for entry in ledger.history(bundle.id):
                    what = f"{entry.subject} {entry.subject_id} {entry.before} {entry.event} {entry.after}"
                    lines.append((entry.at, f"ledger   #{bundle.id} {what} {[one.code for one in entry.reasons]}"))
    for entry in stage.site.received().requests:
        text = str(entry)
        if exam.accession in text or exam.study in text:
            lines.append((entry["time"], f"gateway  {text[:500]}"))
    first, last = min((at for at, _ in lines), default=0.0), max((at for at, _ in lines), default=0.0)
    lines += [(at, f"havoc    {text}") for at, text in diary.entries if first - 5 <= at <= last + 5]
    shown = [f"{at:.3f} {text}" for at, text in sorted(lines)]
    return f"the story of {exam}:\n" + "\n".join(shown[:_MOST])
