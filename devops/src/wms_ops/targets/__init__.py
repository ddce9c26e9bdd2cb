"""The targets of a run: a protocol, and its implementations."""
