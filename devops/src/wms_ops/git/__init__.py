"""Git's wrapper: commands, trailers and scratch clones."""
