"""Models on the move: to the S3 store, from a release, S3 or MLflow to WMS/models; and the proof where one is from."""
