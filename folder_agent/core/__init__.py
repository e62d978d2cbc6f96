"""Every decision of the agent, as pure functions over frozen values: no disk, network, database, log or clock here."""
