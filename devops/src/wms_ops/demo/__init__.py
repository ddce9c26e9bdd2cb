"""`make demo`: the whole loop on a single machine, without any account, and a page that reports the demo."""
