"""What only Windows has: its service manager, Event Log, accounts and rights. Importable there alone."""
