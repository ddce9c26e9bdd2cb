"""The programs on an instance at AWS: MLflow, the service, jobs and backups; and the message queue to them."""
