"""What goes into the Windows Event Log, and under which number: one table, which ADMIN.md and the README speak from.

Pure. Numbers are for ever. They lie between 1 and 1000 because the texts are shown by Windows' own EventCreate.exe,
whose message table has just those, each saying "%1": no DLL of ours is needed, and none can be missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class EventId(IntEnum):
    """Every entry that the agent writes."""

    STARTED = 1
    STOPPED = 2
    SETTINGS = 3
    ENDED = 4
    CRASHED = 5
    HELD = 10
    RESUMED = 11
    OUTAGE = 12
    RECOVERED = 13
    BUNDLE_FAILED = 20
    BUNDLE_HELD = 21
    INTERNAL = 30
    NOT_TOLD = 40


class Level(IntEnum):
    """EVENTLOG_… (winnt.h)."""

    ERROR = 1
    WARNING = 2
    INFORMATION = 4


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an entry says to whoever watches the log."""

    level: Level
    zh: str
    en: str


MEANINGS: dict[EventId, Meaning] = {
    EventId.STARTED: Meaning(Level.INFORMATION, "服务已启动,开始工作", "the service has started, and is at work"),
    EventId.STOPPED: Meaning(Level.INFORMATION, "服务已停止", "the service was stopped"),
    EventId.SETTINGS: Meaning(
        Level.ERROR,
        "设置不可用,服务已停止;改正后请手动启动",
        "the settings cannot be used; the service has stopped, and waits to be started when they are mended",
    ),
    EventId.ENDED: Meaning(
        Level.ERROR,
        "无法继续工作,稍后由系统重新启动",
        "the agent cannot go on; Windows starts it again in a while",
    ),
    EventId.CRASHED: Meaning(
        Level.ERROR,
        "程序内部错误,稍后由系统重新启动;请把日志发给支持人员",
        "a fault of the agent's own; Windows starts it again in a while. Send the log to support",
    ),
    EventId.HELD: Meaning(
        Level.ERROR,
        "已暂停发送,需要人工处理;没有任何文件丢失",
        "sending is on hold, and somebody must act; nothing is lost",
    ),
    EventId.RESUMED: Meaning(Level.INFORMATION, "暂停已解除", "the hold is over"),
    EventId.OUTAGE: Meaning(
        Level.WARNING,
        "前置机、投放目录或磁盘暂时不可用,会自动恢复",
        "the gateway, a drop folder or a disk is out of reach; it goes on by itself",
    ),
    EventId.RECOVERED: Meaning(Level.INFORMATION, "已恢复", "what was out of reach is back"),
    EventId.BUNDLE_FAILED: Meaning(
        Level.WARNING,
        "一个检查进入 failed/,原因见其中的 WHY.txt",
        "an exam went to failed/; its WHY.txt says why",
    ),
    EventId.BUNDLE_HELD: Meaning(Level.WARNING, "一个检查需要人工处理", "an exam waits for somebody to act"),
    EventId.INTERNAL: Meaning(
        Level.ERROR,
        "程序内部错误,已继续工作;请把日志发给支持人员",
        "a fault of the agent's own, which goes on working; send the log to support",
    ),
    EventId.NOT_TOLD: Meaning(
        Level.WARNING,
        "同类事件过多,部分未写入;全部见日志文件",
        "too many of a kind: some were not written here; the log file has them all",
    ),
}
