"""What runs on an instance at AWS: MLflow, the service, jobs and backups; and the mailbox by which it's asked."""
