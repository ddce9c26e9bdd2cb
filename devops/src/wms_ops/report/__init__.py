"""Texts and pages about a run: the pull request, its pictures, and the page of a whole story. Pure."""
