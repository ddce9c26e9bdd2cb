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

output "subnets" {
  description = "Subnet of each availability zone."
  value       = { for zone, subnet in aws_subnet.public : zone => subnet.id }

  # Whoever reads it starts a machine, which goes to the internet at once.
  depends_on = [aws_default_route_table.public]
}

output "security_group_id" {
  description = "Security group of the instance, to which wms_ops adds single addresses."
  value       = aws_security_group.this.id
}

output "instance_profile" {
  description = "Name of the instance's profile."
  value       = local.make_role ? aws_iam_instance_profile.host[0].name : var.existing_instance_profile

  depends_on = [aws_iam_role_policy.host]
}

output "mlflow_role" {
  description = "Name of MLflow's role, which the instance takes; null with an existing profile."
  value       = local.make_role ? aws_iam_role.mlflow[0].name : null

  depends_on = [aws_iam_role_policy.mlflow, aws_iam_role_policy.take_mlflow]
}
