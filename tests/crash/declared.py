"""What is said by hand about the steps: which functions change nothing, and what no scenario here comes to, and why.

A function that is in neither table, and that no scenario calls, fails the suite: add a scenario, or one line here.
"""

from __future__ import annotations

# They look, choose or judge: dying before or after them is dying between two other steps.
_CHANGES_NOTHING = """
ledger.accepted ledger.bundle ledger.bundle_at ledger.files_of ledger.find_bundles ledger.history ledger.delivered
ledger.latest_bundles ledger.open_bundles ledger.open_files ledger.recall ledger.tallies ledger.target_is_taken
ledger.bundles_between ledger.day_tallies ledger.files_between ledger.close
ledger.count_since ledger.deeds ledger.deeds_of ledger.delivered_since ledger.drop_names ledger.left_behind
ledger.first_seen ledger.count_left_behind ledger.newest_at ledger.oldest_waiting ledger.open_counts ledger.orders
ledger.overdue ledger.page
shelves.choose shelves.days shelves.on_day shelves.free_bytes shelves.is_free shelves.read shelves.has_failed
gateway.for_exam gateway.close form.for_exam encapsulate.for_exam encapsulate.names
drop.below drop.digest drop.inspect drop.kind drop.locate drop.look drop.stamp drop.unlisted
durable._beside durable._raise durable.aside_of durable.digest_of durable.part_of
moving._check_target moving.is_same
correcting._files correcting._incoming correcting._sidecars
places._is_plain places.below places.crosses_volumes places.errors_of places.is_ours places.shelf_failure
places.target_text places.there
real._raise real._read
purging._holds_others purging._is_real_folder purging._raise purging.entries
returning._files returning._read_plan
"""
CHANGES_NOTHING = frozenset(_CHANGES_NOTHING.split())

UNREACHED: dict[str, str] = {
    "durable._check_then_rename": "for file systems without renameat2: tests/edges/test_durable.py",
    "moving._drop_aside": "reached only after a kill: it mends what one left, and the second kills come to it",
    "moving._finish": "reached only after a kill, as above",
    "os.rename": "for file systems without renameat2, as above; the others are stepped as durable._rename",
    "returning._drop_copies": "only where there is no room for the way back: tests/edges/test_shelves.py",
    "ledger.swap_note": "leases of agents that share a PostgreSQL ledger: tests/edges/test_leases.py",
    "ledger.compact": "one transaction on what is long over: tests/contracts/test_ledger_contract.py",
    **dict.fromkeys(
        ("shelves.purge", "purging.purge", "purging._delete", "purging._remove_empty"),
        "of bundles that were delivered days ago, cut at each of its steps in tests/edges/test_purging.py",
    ),
    "bundle COMMITTED aim": "where another worker takes a name in the moment of the commit: tests/agent/test_faults.py",
    "file SEEN change": "growth of an unsettled file is no news to the ledger: the agent never writes it",
    "file SETTLED refuse": "needs another content under the same size, time and identity",
    "file REFUSED settle": "needs another content under the same size, time and identity",
}
