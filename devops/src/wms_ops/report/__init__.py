"""What people read of a run: the pull request's text, its pictures, and the page of a whole story. Pure."""
