"""The Ledger port on peewee: SQLite on a local disk, or PostgreSQL. May touch that database and nothing else."""

from folder_agent.edges.ledger.opening import open_ledger, require_sound
from folder_agent.edges.ledger.repository import PeeweeLedger

__all__ = ["PeeweeLedger", "open_ledger", "require_sound"]
