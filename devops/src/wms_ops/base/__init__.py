"""The foundation of every package: errors, signals, questions, outputs and the layout of a clone."""
