output "dvc_bucket" {
  description = "Bucket of the data set."
  value       = aws_s3_bucket.this["dvc"].id
}

output "mlflow_bucket" {
  description = "Bucket of MLflow's artifacts and backups, code bundles and jobs."
  value       = aws_s3_bucket.this["mlflow"].id
}

output "ecr_repository_url" {
  description = "Address to which the service's images are pushed."
  value       = aws_ecr_repository.this.repository_url
}
