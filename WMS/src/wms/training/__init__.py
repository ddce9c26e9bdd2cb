"""Training: loop, checkpoints, tracking, stages and reports."""
