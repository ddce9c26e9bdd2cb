"""The loop from a data branch to a merged or blocked pull request: steps as commands, and the driver on a laptop."""
