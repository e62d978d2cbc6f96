"""What may be sent to support: logs, settings without secrets, tallies, what `doctor` finds, versions.

Reads the installation; `doctor`'s checks touch what they check. Nothing personal is in it: every part is made by saying
what may be told, never by cutting out what may not. A line of the log that is not known is left out.
"""

from folder_agent.support.bundle import Part, collect

__all__ = ["Part", "collect"]
