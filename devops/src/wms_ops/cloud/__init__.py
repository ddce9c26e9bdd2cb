"""The machine that runs MLflow and the service: one protocol, one implementation for each place it may be."""
