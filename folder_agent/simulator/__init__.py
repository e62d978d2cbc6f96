"""A strict stand-in for the hospital's front-end machine: real HTTP/1.1 over TLS, for trying the agent against.

It checks the agent independently: nothing here is imported from the rest of folder_agent, its field table included.
"""

from folder_agent.simulator.received import Received, ReceivedFile
from folder_agent.simulator.rules import Rule
from folder_agent.simulator.server import Simulator
from folder_agent.simulator.serving import run_simulator

__all__ = ["Received", "ReceivedFile", "Rule", "Simulator", "run_simulator"]
