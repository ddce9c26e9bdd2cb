"""What a run costs at a cloud's prices, and whether it may: pure functions of seconds, photos and a price table."""
