"""Processes on a single machine: MLflow, the S3 server, the service."""
