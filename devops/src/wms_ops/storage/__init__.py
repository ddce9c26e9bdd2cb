"""S3: one client, one bucket, one way to read its errors."""
