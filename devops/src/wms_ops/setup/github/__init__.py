"""The settings of the repository at GitHub: what is wanted, what is there, and the requests that bring it there."""
