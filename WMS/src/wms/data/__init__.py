"""Reading, pairing, splitting and augmenting photos and masks."""
