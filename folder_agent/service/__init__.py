"""The agent as a service of the machine: Windows' service manager, or systemd.

`controlling` is what the commands use on both; what only one platform has lies in the modules named after it.
"""
