output "instance_id" {
  description = "Id of the instance."
  value       = aws_instance.this.id
}

output "public_ip" {
  description = "Public IPv4 address of the instance."
  value       = aws_instance.this.public_ip
}

output "security_group_id" {
  description = "Security group to which wms_ops adds single addresses."
  value       = aws_security_group.this.id
}

output "instance_type" {
  description = "Type of the instance, which sets its price."
  value       = aws_instance.this.instance_type
}

output "launch_id" {
  description = "Launch that started the instance; not var.launch_id where an older machine still runs."
  value       = aws_instance.this.tags["wms:launch"]
}
