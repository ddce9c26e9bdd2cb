"""`make demo`: the whole loop on one machine, without any account, and one page that tells what happened."""
