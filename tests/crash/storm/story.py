"""A story: what people, the PACS, the gateway, the machine and the clock do, one thing after the other.

Each act is a plain value with a name and numbers, so that a failing story shrinks and reads well.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from hypothesis import strategies as st

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, problem
from tests.crash.storm import promise
from tests.crash.storm.weather import Died, Life, Weather
from tests.fakes import DAY_S, PDF, RETRIES, Lost, World, an_image, sidecar

EXAMS = 3
_MOST_STEPS = 400  # of the agent, in one act: more without its end is running hot
CODES = (1, 100001, 100002, 100003, 100004, 10001, 10003, 10004, 10005, 20008, 31337)
OUTAGE = failure(problem("FA-GW-UNREACHABLE", detail="connection refused"))
BREAKS: tuple[AgentError, ...] = (
    OUTAGE,
    failure(problem("FA-GW-TIMEOUT", seconds=30)),
    failure(problem("FA-GW-HTTP", status=503, retry_after_s=30)),
    failure(problem("FA-GW-ANSWER", detail="no JSON")),
    failure(problem("FA-GW-TOO-LARGE")),
    failure(problem("FA-GW-INSTANCE-AGAIN", reason=272)),
    failure(problem("FA-GW-AUTH", status=401, message="")),
)


@dataclass(frozen=True)
class Act:
    """One thing that happens: its name, and what it is about."""

    name: str
    exam: int = 1
    one: int = 1
    number: int = 0

    def __repr__(self) -> str:
        return f"{self.name}({self.exam}, {self.one}, {self.number})"


@dataclass
class Stage:
    """A world in a storm, and what it owes to the people who dropped something."""

    layout: str
    is_eager: bool = False
    world: World = field(init=False)
    weather: Weather = field(default_factory=Weather)
    owed: Counter[bytes] = field(default_factory=Counter)
    versions: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        self.world = World(
            drops=("ct", "mr"),
            wrap=self.weather.wrap,
            settle_s=2.0,
            quiet_s=30.0,
            eager=self.is_eager,
            scan_s=5.0,
            jitter=0.7,
        )

    def play(self, act: Act) -> None:
        """Let it happen; whatever the agent does then, `wait` tells."""
        ACTS[act.name](self, act)
        promise.nothing_is_lost(self.world, self.owed)

    # --- people and the PACS ---

    def place(self, act: Act, name: str) -> str:
        """Where a file of the exam lies: in its folder, or beside others of a flat one."""
        return f"CT{act.exam}/{name}" if self.layout == "folder" else f"A{act.exam}_{name}"

    def put(self, act: Act, name: str, content: bytes, *, keep_time: bool = False) -> None:
        drop = self.world.drops["mr" if act.exam == EXAMS else "ct"]
        path = name if name.endswith("/") else self.place(act, name)
        old = drop.files.get(path)
        if old is not None:
            self.owed[old.content] -= 1
        drop.put(path, content, old.mtime_ns if old is not None and keep_time else None)
        self.owed[content] += 1
        self.owed = +self.owed

    def take(self, act: Act, name: str) -> None:
        drop = self.world.drops["mr" if act.exam == EXAMS else "ct"]
        old = drop.files.pop(self.place(act, name), None)
        if old is not None:
            self.owed[old.content] -= 1
            self.owed = +self.owed

    def fresh(self) -> str:
        self.versions += 1
        return str(self.versions)

    # --- time ---

    def run(self, seconds: float) -> None:
        """The agent works for so long; the promise is looked at after each of its steps."""
        world, end, at_once = self.world, self.world.clock.monotonic() + seconds, 0
        while (left := end - world.clock.monotonic()) > 0:
            known, exams = promise.known_accepted(world), len(world.gateway.exams)
            received = len(world.gateway.image_line.received)
            try:
                wait_s = world.agent.step()
            except Died:
                self.begin_again()
                wait_s = 0.0
            self.steps += 1
            promise.nothing_is_lost(world, self.owed)
            promise.the_ledger_can_say_where(world)
            promise.nothing_is_half_sent(world, exams)
            promise.nobody_is_mixed_up(world)
            promise.everyone_can_see_why(world)
            promise.nothing_known_is_sent_again(world, known, received)
            at_once = at_once + 1 if wait_s <= 0 else 0
            assert at_once < _MOST_STEPS, "the agent runs hot"
            world.clock.advance(min(wait_s, left))

    def begin_again(self) -> None:
        """The process is gone (or ends): a new one on the same ledger and folders."""
        with suppress(Died):
            self.world.end()
        self.weather.life = Life()
        for _ in range(3):
            with suppress(AgentError):  # the ledger fails for a while: the service starts it again
                self.world.start()
                return

    def calm(self) -> None:
        """Every trouble is mended, and a day goes by."""
        world = self.world
        self.weather.ledger_fails = 0
        self.weather.life.calls_left = None
        world.gateway.come_back()
        for line in world.gateway.lines():
            line.coming.clear()
        for name, drop in world.drops.items():
            drop.outage = None
            drop.unreadable.clear()
            world.shelves[name].failing.clear()
        self.run(2 * RETRIES.max_s + 600.0)
        promise.all_that_can_go_has_gone(world)


def _sidecar(stage: Stage, act: Act) -> None:
    counts: list[dict[str, object]] = [
        {"imageCnt": 1},
        {"imageCnt": 2},
        {"imageCnt": 2, "pdfCnt": 1},
        {"imageCnt": None},
    ]
    more: list[dict[str, object]] = [{}, {"studyUid": f"1.2.{act.exam}"}, {"studyCategory": "emergency"}]
    fields = {**counts[act.number % 4], **more[act.one % 3], "studyDesc": stage.fresh()}
    content = sidecar(act.exam, **fields)
    name = "exam.json" if stage.layout == "folder" else ".json"
    stage.put(act, name, content if act.number % 11 else content[:-7])


def _image(stage: Stage, act: Act) -> None:
    stage.put(act, f"{act.one}.dcm", an_image(act.exam, act.one))


def _other_bytes(stage: Stage, act: Act) -> None:
    stage.put(act, f"{act.one}.dcm", an_image(act.exam, act.one, pixels=stage.fresh()))


def _loose(stage: Stage, act: Act) -> None:
    """An image whose name says nothing, beside everybody's: only its header tells where it belongs."""
    drop, path = stage.world.drops["mr" if act.exam == EXAMS else "ct"], f"IM{act.exam}{act.one}"
    if path not in drop.files:
        content = an_image(act.exam, act.one, pixels=stage.fresh() if act.number % 5 == 0 else "")
        drop.put(path, content)
        stage.owed[content] += 1


def _wrong_sidecar(stage: Stage, act: Act) -> None:
    """The JSON of the other exam, under this one's name."""
    other = act.exam % 2 + 1
    content = sidecar(other, imageCnt=1 + act.number % 2, studyUid=f"1.2.{other}", studyDesc=stage.fresh())
    stage.put(act, "exam.json" if stage.layout == "folder" else ".json", content)


def _same_image_elsewhere(stage: Stage, act: Act) -> None:
    stage.put(act, f"copy{act.one}.dcm", an_image(act.exam, act.one))


def _stranger(stage: Stage, act: Act) -> None:
    content = an_image(act.exam, 666, patient=promise.STRANGER, study="1.2.666", accession="ACC666")
    stage.put(act, "x.dcm", content)


def _report(stage: Stage, act: Act) -> None:
    whole = b"%PDF-1.4\n" + stage.fresh().encode() + PDF[8:]
    stage.put(act, "report.pdf", whole if act.number % 3 else whole[:-9])


def _rubbish(stage: Stage, act: Act) -> None:
    name = ("Thumbs.db", "note.txt", "next.part", "2.dcm")[act.number % 4]
    stage.put(act, name, b"rubbish " + stage.fresh().encode())


def _take(stage: Stage, act: Act) -> None:
    names = ("1.dcm", "2.dcm", "report.pdf", "exam.json" if stage.layout == "folder" else ".json")
    stage.take(act, names[act.number % 4])


def _code(stage: Stage, act: Act) -> None:
    line = stage.world.gateway.lines()[act.one % 3]
    line.coming.append(CODES[act.number % len(CODES)])


def _break(stage: Stage, act: Act) -> None:
    line = stage.world.gateway.lines()[act.one % 3]
    line.coming.append(BREAKS[act.number % len(BREAKS)] if act.number % 3 else Lost())


def _gateway(stage: Stage, act: Act) -> None:
    if act.number % 2:
        stage.world.gateway.go_down(BREAKS[act.number % len(BREAKS)])
    else:
        stage.world.gateway.come_back()


def _drop_away(stage: Stage, act: Act) -> None:
    drop = stage.world.drops["mr" if act.exam == EXAMS else "ct"]
    if act.number % 2:
        drop.go_away()
    else:
        drop.outage = None


def _locked(stage: Stage, act: Act) -> None:
    drop = stage.world.drops["mr" if act.exam == EXAMS else "ct"]
    path = stage.place(act, f"{act.one}.dcm")
    if act.number % 2:
        drop.unreadable[path] = problem("FA-FILE-LOCKED", path)
    else:
        drop.unreadable.pop(path, None)


def _shelf_fails(stage: Stage, act: Act) -> None:
    shelves = stage.world.shelves["mr" if act.exam == EXAMS else "ct"]
    codes = (problem("FA-DISK-FULL", where="done"), problem("FA-SHELF", shelf="done", detail="EACCES"))
    shelves.failing.extend([failure(codes[act.number % 2])] * (1 + act.one))


def _ledger_fails(stage: Stage, act: Act) -> None:
    stage.weather.ledger_fails = act.one


def _die(stage: Stage, act: Act) -> None:
    stage.weather.life.calls_left, stage.weather.life.dies_after = 1 + act.number, bool(act.one % 2)


def _clock(stage: Stage, act: Act) -> None:
    stage.world.clock.jump((-DAY_S, -60.0, 3600.0, DAY_S)[act.number % 4])


def _knock(stage: Stage, act: Act) -> None:
    with suppress(Died):
        stage.world.ledger.remember("knock", stage.fresh())


def _arrives_on_the_way(stage: Stage, act: Act) -> None:
    """Something is dropped just when the agent talks to the gateway."""
    line, late = stage.world.gateway.lines()[act.number % 3], [act]

    def on_way() -> None:
        if late:
            _image(stage, late.pop())

    line.on_way = on_way


ACTS: dict[str, Callable[[Stage, Act], None]] = {
    "sidecar": _sidecar,
    "image": _image,
    "other_bytes": _other_bytes,
    "same_image_elsewhere": _same_image_elsewhere,
    "stranger": _stranger,
    "loose": _loose,
    "wrong_sidecar": _wrong_sidecar,
    "report": _report,
    "rubbish": _rubbish,
    "take": _take,
    "code": _code,
    "break": _break,
    "gateway": _gateway,
    "drop_away": _drop_away,
    "locked": _locked,
    "shelf_fails": _shelf_fails,
    "ledger_fails": _ledger_fails,
    "die": _die,
    "begin_again": lambda stage, act: stage.begin_again(),
    "clock": _clock,
    "knock": _knock,
    "arrives_on_the_way": _arrives_on_the_way,
    "wait": lambda stage, act: stage.run((1.0, 3.0, 10.0, 45.0, 300.0)[act.number % 5]),
}
# Exams arrive and time passes more often than anything goes wrong.
_WEIGHTED = [*ACTS, *["sidecar", "image", "image", "loose", "report"] * 2, *["wait"] * 8]

acts = st.builds(Act, st.sampled_from(_WEIGHTED), st.integers(1, EXAMS), st.integers(1, 2), st.integers(0, 60))


def random_story(seed: int, length: int) -> list[Act]:
    """A story for those who want many, quickly, without shrinking."""
    dice = random.Random(seed)
    return [
        Act(dice.choice(_WEIGHTED), dice.randint(1, EXAMS), dice.randint(1, 2), dice.randint(0, 60))
        for _ in range(length)
    ]


def tell(layout: str, story: list[Act], *, is_eager: bool = False) -> int:
    """Play the story to its calm end; how many steps the agent took. AssertionError where the promise is broken."""
    stage = Stage(layout, is_eager)
    try:
        for act in story:
            stage.play(act)
        stage.calm()
        return stage.steps
    finally:
        with suppress(BaseException):
            stage.world.end()
