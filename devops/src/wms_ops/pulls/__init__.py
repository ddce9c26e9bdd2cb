"""Pull requests, at GitHub or on this machine."""
