"""A run's record, its plan and where it is kept."""
