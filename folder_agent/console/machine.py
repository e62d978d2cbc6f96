"""What machines read: whether it lives and can work, its metrics, and the documents of `status` and `show`."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from folder_agent import __version__
from folder_agent.checkup import documents
from folder_agent.checkup.reports import iso, why_of
from folder_agent.console.context import Context
from folder_agent.console.views import number_of, place_of, wanted_of
from folder_agent.core.records import BundleRecord
from folder_agent.edges.meters import BOUNDS, Times

_MOST = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """A body and what it is."""

    body: str
    status: int = 200
    kind: str = "application/json"


Maker = Callable[[Context, Mapping[str, str]], Answer]


def healthz(context: Context, _given: Mapping[str, str]) -> Answer:
    """Whether the agent's own loop goes round."""
    is_alive = context.is_alive()
    return _json({"ok": is_alive, "version": __version__}, 200 if is_alive else 503)


def readyz(context: Context, _given: Mapping[str, str]) -> Answer:
    """Whether exams can be taken in and sent now."""
    now = context.pulse.now
    wrong = [now.trouble.code] if now.trouble is not None else []
    wrong += [now.gate.reason.code] if now.gate.reason is not None else []
    wrong += [one.code for drop in now.drops for one in drop.troubles if one.code == "FA-DROP-GONE"]
    wrong += [] if context.is_alive() else ["loop"]
    return _json({"ok": not wrong, "wrong": wrong}, 503 if wrong else 200)


def status(context: Context, _given: Mapping[str, str]) -> Answer:
    """The document of `folder-agent status --json`."""
    report = documents.of_status(context.settings, context.ledger, time.time(), context.pulse.tallies())
    return Answer(documents.as_text(report))


def bundle(context: Context, given: Mapping[str, str]) -> Answer:
    """The document of `folder-agent show BUNDLE --json`."""
    found = context.ledger.find_bundles(given["name"])
    if not found:
        return _json({"error": "there is no such bundle"}, 404)
    return Answer(documents.as_text(documents.of_bundle(context.settings, context.ledger, found)))


def bundles(context: Context, given: Mapping[str, str]) -> Answer:
    """A page of bundles; the same filters as the page for people."""
    limit = number_of(given.get("limit", ""))
    wanted = wanted_of(given, 50 if limit is None else max(1, min(limit, _MOST)))
    found = context.ledger.page(wanted)
    after = place_of(found[wanted.limit - 1], wanted) if len(found) > wanted.limit else None
    return _json({"bundles": [_short(context, one) for one in found[: wanted.limit]], "after": after})


def _short(context: Context, one: BundleRecord) -> dict[str, Any]:
    words = why_of(one, context.pulse.now.gate)
    return {
        "id": one.id,
        "bundle": one.name,
        "drop": one.drop,
        "state": str(one.state),
        "for": words.en,
        "for_zh": words.zh,
        "code": one.reasons[0].code if one.reasons else None,
        "overdue": one.overdue,
        "access_number": one.access_number,
        "study_id": one.study_id,
        "since": iso(one.created_at),
        "changed": iso(one.changed_at),
        "due": iso(one.due_at),
        "where": one.target,
    }


def metrics(context: Context, _given: Mapping[str, str]) -> Answer:
    """Prometheus' text form. No label names a patient, a bundle or a file."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(context))
    return Answer(generate_latest(registry).decode(), kind=CONTENT_TYPE_LATEST)


class _Collector:
    """Everything, as it is at one time."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        context, now, meters = self._context, self._context.pulse.now, self._context.meters
        tallies = context.pulse.tallies()
        requests: dict[tuple[str, ...], Times] = {(*key,): one for key, one in meters.requests().items()}
        info = GaugeMetricFamily("folder_agent_info", "The agent's version.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        for subject, counts in (("bundles", tallies.bundles), ("files", tallies.files)):
            family = GaugeMetricFamily(f"folder_agent_{subject}", f"How many {subject}, by state.", labels=["state"])
            for state, count in counts.items():
                family.add_metric([state], count)
            yield family
        oldest = 0.0 if tallies.oldest_open_at is None else max(0.0, time.time() - tallies.oldest_open_at)
        yield GaugeMetricFamily("folder_agent_oldest_waiting_seconds", "Age of the oldest bundle that waits.", oldest)
        yield GaugeMetricFamily("folder_agent_gate_open", "1 if bundles are sent.", int(now.gate.reason is None))
        yield GaugeMetricFamily("folder_agent_held", "1 if an operator must act.", int(now.gate.held))
        yield CounterMetricFamily(
            "folder_agent_sent_bytes", "Bytes that have left since the start.", context.live.bytes_sent
        )
        yield CounterMetricFamily("folder_agent_faults", "Faults of the agent's own.", context.live.faults)
        yield _times("folder_agent_request_seconds", "Requests to the gateway.", ["endpoint", "outcome"], requests)
        if meters.under_way is not None:
            most, now_under_way = meters.under_way()
            yield GaugeMetricFamily("folder_agent_requests_under_way", "Requests to the gateway.", now_under_way)
            yield GaugeMetricFamily("folder_agent_requests_most", "How many may be under way at once.", most)
        looks: dict[tuple[str, ...], Times] = {(drop,): times for drop, times in meters.looks().items()}
        yield _times("folder_agent_scan_seconds", "Looks at a drop folder.", ["drop"], looks)
        restarts = CounterMetricFamily("folder_agent_watcher_restarts", "Watches set up anew.", labels=["drop"])
        for drop, count in meters.restarts().items():
            restarts.add_metric([drop], count)
        yield restarts
        free = GaugeMetricFamily("folder_agent_free_bytes", "Free where done/ lies.", labels=["drop"])
        for one in now.drops:
            if one.free is not None:
                free.add_metric([one.name], one.free)
        yield free
        if meters.clock_offset_s is not None:
            yield GaugeMetricFamily(
                "folder_agent_clock_offset_seconds", "Our clock minus the gateway's.", meters.clock_offset_s
            )


def _times(name: str, words: str, labels: list[str], found: Mapping[tuple[str, ...], Times]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, words, labels=labels)
    for values, times in found.items():
        buckets = [(str(bound), float(count)) for bound, count in zip(BOUNDS, times.below, strict=True)]
        family.add_metric(values, [*buckets, ("+Inf", float(times.count))], times.total_s)
    return family


def basic(header: str | None) -> tuple[str, str] | None:
    """Name and password of an Authorization header (RFC 7617)."""
    kind, _, value = (header or "").partition(" ")
    if kind.lower() != "basic" or len(value) > 2000:
        return None
    try:
        name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None


def _json(value: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(json.dumps(value, ensure_ascii=False), status)
