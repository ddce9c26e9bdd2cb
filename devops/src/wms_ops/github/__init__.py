"""What the loop tells GitHub and asks of it: outputs, summaries, annotations, pull requests; and a local twin."""
