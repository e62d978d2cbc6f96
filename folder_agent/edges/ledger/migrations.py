"""The schema, step by step. A released step never changes; a new one is appended, and tables.py follows.

Touches the database that it is given: each step and its number in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import problem
from folder_agent.edges.ledger.engine import Engine

Step = tuple[str, ...]

_FIRST: Step = (
    "CREATE TABLE schema_version (version INTEGER PRIMARY KEY)",
    """CREATE TABLE bundles (
        id {id}, drop_name TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
        created_at {double} NOT NULL, changed_at {double} NOT NULL,
        study_uid TEXT, access_number TEXT, study_id TEXT, emergency {bool} NOT NULL, counts TEXT NOT NULL,
        reasons TEXT, overdue {bool} NOT NULL, attempts BIGINT NOT NULL, first_failed_at {double}, due_at {double},
        answer TEXT, committed_at {double}, target TEXT, is_open {bool} NOT NULL, open_key TEXT, target_name TEXT,
        owner TEXT, lease_until {double})""",
    """CREATE TABLE files (
        id {id}, drop_name TEXT NOT NULL, path {ordered} NOT NULL,
        size BIGINT NOT NULL, mtime_ns TEXT NOT NULL, identity TEXT NOT NULL,
        state TEXT NOT NULL, kind TEXT NOT NULL, bundle_id BIGINT REFERENCES bundles (id), sop_instance TEXT,
        sha256 TEXT, destination TEXT, accepted_at {double}, answer TEXT, reason TEXT,
        is_open {bool} NOT NULL, open_key TEXT)""",
    """CREATE TABLE history (
        id {id}, at {double} NOT NULL, subject TEXT NOT NULL, subject_id BIGINT NOT NULL,
        was TEXT NOT NULL, event TEXT NOT NULL, became TEXT NOT NULL, reasons TEXT)""",
    "CREATE TABLE notes (name TEXT PRIMARY KEY, content TEXT NOT NULL)",
    "CREATE UNIQUE INDEX bundles_open ON bundles (drop_name, open_key) WHERE open_key IS NOT NULL",
    "CREATE UNIQUE INDEX bundles_target ON bundles (target)",
    "CREATE INDEX bundles_target_name ON bundles {hash} (target_name)",
    "CREATE INDEX bundles_name ON bundles {hash} (name)",
    "CREATE INDEX bundles_access_number ON bundles {hash} (access_number)",
    "CREATE INDEX bundles_study_uid ON bundles {hash} (study_uid)",
    "CREATE INDEX bundles_study_id ON bundles {hash} (study_id)",
    "CREATE INDEX bundles_changed ON bundles (changed_at)",
    "CREATE INDEX bundles_state ON bundles (state)",
    "CREATE UNIQUE INDEX files_open ON files (drop_name, open_key) WHERE open_key IS NOT NULL",
    "CREATE INDEX files_bundle ON files (bundle_id)",
    "CREATE INDEX files_state ON files (state)",
    "CREATE INDEX history_subject ON history (subject, subject_id)",
)

# Old rows are dropped after a while; the daily tallies say for ever what there was. A file's and a bundle's own times
# say to which day they belong, so that nobody needs the history for that.
_SECOND: Step = (
    "ALTER TABLE files ADD COLUMN seen_at {double}",
    """UPDATE files SET seen_at = (
        SELECT min(at) FROM history WHERE subject = 'file' AND subject_id = files.id)""",
    "ALTER TABLE bundles ADD COLUMN purged_at {double}",
    """CREATE TABLE tallies (
        day TEXT NOT NULL, drop_name TEXT NOT NULL, subject TEXT NOT NULL, state TEXT NOT NULL, total BIGINT NOT NULL,
        PRIMARY KEY (day, drop_name, subject, state))""",
    "CREATE INDEX bundles_state_changed ON bundles (state, changed_at)",
    "DROP INDEX bundles_state",
    "CREATE INDEX bundles_created ON bundles (created_at)",
)

# What the console asks: the bundles of one drop folder and state in the order of either time, and by the beginning of
# a name. `deeds` is what operators did, and their orders.
_THIRD: Step = (
    """CREATE TABLE deeds (
        id {id}, at {double} NOT NULL, who TEXT NOT NULL, act TEXT NOT NULL,
        bundle_id BIGINT, reason TEXT, place TEXT)""",
    "CREATE INDEX deeds_bundle ON deeds (bundle_id)",
    "CREATE INDEX bundles_changed_of ON bundles (drop_name, state, changed_at, id)",
    "CREATE INDEX bundles_created_of ON bundles (drop_name, state, created_at, id)",
    "DROP INDEX bundles_state_changed",
    "CREATE INDEX bundles_name_start ON bundles (lower(substr(name, 1, 60)){exact})",
)

# What a later bundle of a study needs of what was delivered: what each file counts as, and what was posted last.
_FOURTH: Step = (
    "ALTER TABLE files ADD COLUMN role TEXT",
    "ALTER TABLE files ADD COLUMN series TEXT",
    "ALTER TABLE files ADD COLUMN digest TEXT",
    "ALTER TABLE bundles ADD COLUMN posted TEXT",
)

STEPS: tuple[Step, ...] = (_FIRST, _SECOND, _THIRD, _FOURTH)


def version(engine: Engine) -> int:
    """The number of the last step that this database has taken; 0 when it is empty."""
    if not engine.table_exists("schema_version"):
        return 0
    return int(engine.run("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()[0])


def migrate(engine: Engine, steps: Sequence[Step] = STEPS) -> None:
    """Take every step that is missing. Several processes may do so at once: each step is taken once.

    Raises AgentError (FA-LEDGER-NEWER) if the database has taken steps that are unknown here.
    """
    while (found := version(engine)) < len(steps):
        with engine.atomic(engine.write_mode):
            engine.lock_schema()
            if version(engine) == found:  # nobody was faster
                _take(engine, found + 1, steps[found])
    if found > len(steps):
        raise failure(problem("FA-LEDGER-NEWER", found=found, known=len(steps)))


def check(engine: Engine, steps: Sequence[Step] = STEPS) -> None:
    """Raise AgentError unless the database has taken exactly these steps."""
    found = version(engine)
    if found > len(steps):
        raise failure(problem("FA-LEDGER-NEWER", found=found, known=len(steps)))
    if found == 0:
        raise failure(problem("FA-LEDGER", detail="there is none yet"))
    if found < len(steps):
        raise failure(problem("FA-LEDGER", detail="it is of an older version: start the agent once"))


def _take(engine: Engine, number: int, step: Step) -> None:
    for statement in step:
        engine.run(statement.format_map(engine.ddl))
    engine.run(f"INSERT INTO schema_version (version) VALUES ({number:d})")  # noqa: S608 - a number
