"""What the installer for Windows does with settings, ledger and service, as steps that it calls one after the other.

Touches the data folder (settings, token, ledger, their copies), the service, and the two files by which the installer
and a step talk. Files of programs, shortcuts and the list of installed programs are the installer's own business
(`installer/` in the source), and drop folders nobody's.
"""
