"""What a PACS and the people around it do with an exam: one function for each kind of story.

A story drops files, and says in the exam's `words` and `ending` what must come of it. It may leave a sequel, which is
played once the agent is through with what came before.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.crash.storm.soak.exams import ENCODINGS, Exam, Piece, counts_of, fields_of, image, report, sidecar, word_of
from tests.crash.storm.soak.pen import Pen, tell

Sequel = Callable[["Scene", Path | None], None]  # is given the folder on the shelf where the exam lies
_TRIES = 20
Retry = Callable[[str], "subprocess.CompletedProcess[str]"]


@dataclass
class Scene:
    """One exam being played. `root` is the drop folder, `retry` the operator's command."""

    exam: Exam
    pen: Pen
    root: Path
    retry: Retry
    sequel: Sequel | None = None
    sequel_after: str = "DONE"  # the state in which its bundle must have been closed

    def place(self, name: str, inside: str = "") -> Path:
        """Where a file goes: in the exam's folder, or beside all others under a name that tells, or that does not."""
        exam = self.exam
        if not exam.flat:
            return self.root / f"{exam.name}{inside}" / name
        if name.startswith("IM") and int(name[2:].partition(".")[0]) % 3 == 0:
            return self.root / f"X{name.partition('.')[0]}-{exam.number}{inside}"  # only its header tells
        stem = exam.name + inside
        return self.root / (f"{stem}_{name}" if name.startswith("IM") else f"{stem}{Path(name).suffix}")

    def pieces(self, least: int = 1, most: int = 6, *, with_report: bool | None = None) -> list[Piece]:
        rng = self.pen.rng
        found = [image(self.exam, one, rng) for one in range(1, rng.randint(least, most) + 1)]
        if with_report if with_report is not None else rng.random() < 0.5:
            found.append(report(rng))
        return found

    def write(self, pieces: list[Piece], inside: str = "") -> None:
        for piece in pieces:
            self.pen.write(self.exam, self.place(piece.name, inside), piece)
            self.pen.pause(0.2)

    def describe(self, fields: dict[str, object], inside: str = "", *, whole: bool = False) -> None:
        content = sidecar("exam.json", fields, self.pen.rng.choice(ENCODINGS))
        self.pen.write(self.exam, self.place("exam.json", inside), content, whole=whole)

    def shuffled(self, pieces: list[Piece]) -> list[Piece]:
        return self.pen.rng.sample(pieces, len(pieces))


def plain(scene: Scene) -> list[Piece]:
    """In any order, with the sidecar anywhere among them; its counts say when it is all."""
    pieces = scene.pieces()
    urgent = {"studyCategory": "emergency"} if scene.pen.rng.random() < 0.1 else {}
    fields = fields_of(scene.exam, "1", **counts_of(pieces), **urgent)
    scene.exam.words.append(word_of(fields, pieces))
    at = scene.pen.rng.randint(0, len(pieces))
    order = scene.shuffled(pieces)
    scene.write(order[:at])
    scene.describe(dict(fields))
    scene.write(order[at:])
    return pieces


def quiet(scene: Scene) -> None:
    """No counts: the sidecar comes last, and then nothing."""
    pieces = scene.pieces()
    fields = fields_of(scene.exam, "1")
    scene.exam.words.append(word_of(fields, pieces))
    scene.write(scene.shuffled(pieces))
    scene.describe(dict(fields), whole=True)


def listed(scene: Scene) -> None:
    """The sidecar names every file, with its size and digest."""
    pieces = scene.pieces()
    entries = [{"path": scene.place(one.name).name, "size": len(one.content), "sha256": one.digest} for one in pieces]
    fields = fields_of(scene.exam, "1")
    scene.exam.words.append(word_of(fields, pieces))
    order = scene.shuffled(pieces)
    scene.write(order[:1])
    scene.describe({**fields, "files": entries})
    scene.write(order[1:])


def replaced(scene: Scene) -> None:
    """Files are written anew, or taken away and brought again, before the last one comes."""
    pieces = scene.pieces(least=2)
    fields = fields_of(scene.exam, "1", **counts_of(pieces))
    scene.exam.words.append(word_of(fields, pieces))
    first, rng = image(scene.exam, 1, scene.pen.rng), scene.pen.rng
    scene.describe(dict(fields))
    scene.write([first, *pieces[1:-1]])
    scene.pen.pause(1.5)
    if rng.random() < 0.5:
        scene.pen.take_away(scene.exam, scene.place(first.name))
        scene.pen.pause(1.0)
    scene.write([pieces[0]])
    scene.write(pieces[-1:])


def rewritten(scene: Scene) -> None:
    """The sidecar declares one image too many, and is then put right."""
    pieces = scene.pieces()
    right = fields_of(scene.exam, "right", **counts_of(pieces))
    wrong = fields_of(scene.exam, "wrong", **counts_of(pieces) | {"imageCnt": counts_of(pieces)["imageCnt"] + 1})
    scene.exam.words.append(word_of(right, pieces))
    scene.describe(dict(wrong))
    scene.write(scene.shuffled(pieces))
    scene.pen.pause(1.5)
    scene.describe(dict(right))


def littered(scene: Scene) -> None:
    """Things that are no files of the exam lie among them; in a folder of its own, they move along."""
    if not scene.exam.flat:
        litter = [Piece("Thumbs.db", scene.pen.rng.randbytes(99)), Piece("notes.txt", scene.pen.rng.randbytes(99))]
        scene.write(litter)
    plain(scene)


def again(scene: Scene) -> None:
    """The same files are dropped once more when they have been delivered."""
    pieces = plain(scene)
    fields = dict(scene.exam.words[0].fields)

    def sequel(scene: Scene, _shelf: Path | None) -> None:
        inside = scene.pen.rng.choice(("", "-again"))
        scene.write(scene.shuffled(pieces), inside)
        scene.describe(dict(fields), inside)

    scene.sequel = sequel


def update(scene: Scene) -> None:
    """A sidecar alone corrects what was delivered."""
    pieces = plain(scene)

    def sequel(scene: Scene, _shelf: Path | None) -> None:
        fields = fields_of(scene.exam, "corrected", **counts_of(pieces))
        scene.exam.words.append(word_of(fields, pieces))
        scene.describe(dict(fields), "-u")

    scene.sequel = sequel


def grown(scene: Scene) -> None:
    """All of it comes again with one image more."""
    pieces = plain(scene)

    def sequel(scene: Scene, _shelf: Path | None) -> None:
        more = [*pieces, image(scene.exam, len(pieces) + 1, scene.pen.rng)]
        fields = fields_of(scene.exam, "grown", **counts_of(more))
        scene.exam.words.append(word_of(fields, more))
        scene.describe(dict(fields), "-g")
        scene.write(scene.shuffled(more), "-g")

    scene.sequel = sequel


def stranger(scene: Scene) -> None:
    """One image is another patient's. Somebody mends it in failed/ and puts it back; or puts it back as it is."""
    pieces = scene.pieces(most=4)
    wrong = image(scene.exam, len(pieces) + 1, scene.pen.rng, strays=True)
    right = image(scene.exam, len(pieces) + 1, scene.pen.rng)
    fields = fields_of(scene.exam, "1", **counts_of([*pieces, wrong]))
    scene.exam.ending = "failed"
    lies = scene.place(wrong.name)
    if scene.exam.flat:
        lies = scene.root / f"{scene.exam.name}_{wrong.name}"  # its header would lead it elsewhere
    scene.describe(dict(fields))
    scene.write(scene.shuffled(pieces))
    scene.pen.write(scene.exam, lies, wrong)

    def sequel(scene: Scene, shelf: Path | None) -> None:
        if shelf is None or not (shelf / lies.name).exists():
            tell(scene.exam, f"{lies.name} is not in {shelf}")
            return
        if scene.pen.rng.random() < 0.7:
            scene.pen.write(scene.exam, shelf / lies.name, right, whole=True)
            scene.exam.words.append(word_of(fields, [*pieces, right]))
            scene.exam.ending = "done"
        put_back(scene, shelf)

    scene.sequel, scene.sequel_after = sequel, "REFUSED"


def put_back(scene: Scene, shelf: Path) -> None:
    """By hand where that is one step, or by the command."""
    same_volume = shelf.stat().st_dev == scene.root.stat().st_dev
    target = scene.root / scene.exam.name
    if same_volume and not target.exists() and scene.pen.rng.random() < 0.5:
        shelf.rename(target)
        tell(scene.exam, f"moved {shelf} back")
        return
    for _ in range(_TRIES):
        ended = scene.retry(scene.exam.accession)
        tell(scene.exam, f"retry ended with {ended.returncode}: {ended.stdout} {ended.stderr}")
        if not ended.returncode:
            return
        scene.pen.pause(5.0)  # a full volume, say
    raise OSError(f"{scene.exam.name} cannot be put back")


def too_many(scene: Scene) -> None:
    """One image more than declared. The sidecar comes last: who comes too late is another matter."""
    pieces = scene.pieces(least=2)
    scene.exam.ending = "failed"
    scene.write(scene.shuffled(pieces))
    declared = counts_of(pieces)
    scene.describe(dict(fields_of(scene.exam, "1", imageCnt=declared["imageCnt"] - 1)), whole=True)


def nameless(scene: Scene) -> None:
    """Which patient it is does not stand there, and no image may say it instead."""
    pieces = scene.pieces()
    scene.exam.ending = "failed"
    scene.write(scene.shuffled(pieces))
    scene.describe(dict(fields_of(scene.exam, "1", patientId=None, **counts_of(pieces))), whole=True)


def unfinished(scene: Scene) -> None:
    """An image is missing, for good."""
    pieces = scene.pieces()
    scene.exam.ending = "drop"
    declared = counts_of(pieces)
    scene.describe(dict(fields_of(scene.exam, "1", **declared | {"imageCnt": declared["imageCnt"] + 1})))
    scene.write(scene.shuffled(pieces))


def taken(scene: Scene) -> None:
    """An incomplete one is taken away again."""
    unfinished(scene)
    scene.exam.ending = "gone"
    scene.pen.pause(2.0)
    places = (
        list((scene.root / scene.exam.name).iterdir())
        if not scene.exam.flat
        else [path for path in scene.root.iterdir() if f"{scene.exam.number:07}" in path.name]
        + [path for path in scene.root.iterdir() if path.name.endswith(f"-{scene.exam.number}")]
    )
    for place in scene.pen.rng.sample(places, len(places)):
        scene.pen.take_away(scene.exam, place)


def loose(scene: Scene) -> None:
    """Images whose sidecar never comes."""
    scene.exam.ending = "drop"
    scene.write(scene.pieces(with_report=False))


STORIES: dict[str, tuple[Callable[[Scene], object], int]] = {
    "plain": (plain, 30),
    "quiet": (quiet, 8),
    "listed": (listed, 8),
    "replaced": (replaced, 8),
    "rewritten": (rewritten, 8),
    "littered": (littered, 4),
    "again": (again, 8),
    "update": (update, 8),
    "grown": (grown, 6),
    "stranger": (stranger, 8),
    "too many": (too_many, 3),
    "nameless": (nameless, 2),
    "unfinished": (unfinished, 3),
    "taken": (taken, 4),
    "loose": (loose, 1),
}


def with_sequel(scene: Scene, play: Sequel, shelf: Path | None) -> None:
    """Play what comes after."""
    play(replace(scene, sequel=None), shelf)
