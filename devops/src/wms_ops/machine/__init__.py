"""Processes on one machine: MLflow, the S3 server, the service."""
