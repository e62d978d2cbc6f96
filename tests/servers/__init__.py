"""Servers that the tests start: real sockets, real TLS."""
