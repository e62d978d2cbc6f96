"""The web page that `folder-agent run` serves: is it working, where is my exam, why has it not gone.

Reads the ledger through connections of its own; what an operator asks for goes into the ledger, and the agent's own
thread carries it out. Nothing here is waited for by a delivery.
"""

from folder_agent.console.live import Live
from folder_agent.console.serving import serving

__all__ = ["Live", "serving"]
