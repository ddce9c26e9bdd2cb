"""The cost of a run at a cloud's prices, and its budget: pure functions of seconds, photos and a price table."""
