"""The steps from a pushed photo to a merged pull request, and their driver."""
