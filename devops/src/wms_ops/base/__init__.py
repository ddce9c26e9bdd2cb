"""What every part uses: errors, signals, questions, outputs and the layout of a clone."""
