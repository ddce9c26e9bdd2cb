"""Where a run happens: one protocol, and its implementations."""
