"""The running agent: look, settle, bundle, send, commit, shelve. It sees the world only through the core's ports."""
