"""Production by command: promote, roll back, repair; what model-metadata.json says; what has to be beaten."""
