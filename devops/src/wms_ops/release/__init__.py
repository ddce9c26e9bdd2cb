"""Publishing, fetching and promoting a model."""
