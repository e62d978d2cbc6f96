"""The console, as a browser and as an attacker meet it, with the real agent behind it."""
