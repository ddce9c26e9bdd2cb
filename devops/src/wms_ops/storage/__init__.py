"""S3: the client, the bucket, the translation of errors."""
