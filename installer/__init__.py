"""Builds the installer for Windows: one file with interpreter, packages and our code. No part of the product."""
