"""The S3 bucket behind the DVC remote: its address, its contents, and what can go wrong on the way there."""
