"""How fast and how small the agent is, against the barest clients that do the same. `python -m tests.bench`."""
