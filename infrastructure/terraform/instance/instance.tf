locals {
  name = "wms-${var.environment}"
  zone = sort(setintersection(data.aws_ec2_instance_type_offerings.this.locations, keys(var.subnets)))[0]

  tags = tomap({
    "Name"            = local.name
    "wms:environment" = var.environment
    "wms:part"        = "instance"
    "wms:launch"      = var.launch_id
    "wms:deadline"    = var.deadline
    "wms:owner"       = var.owner
  })

  user_data = templatefile("${path.module}/user-data.sh.tftpl", {
    lifetime_minutes = var.lifetime_minutes
    region           = var.region
    bundle_uri       = "s3://${var.bundle_bucket}/${var.bundle_key}"
    bundle_sha256    = var.bundle_sha256
    host_json = jsonencode({
      environment   = var.environment
      region        = var.region
      launch_id     = var.launch_id
      deadline      = var.deadline
      idle_minutes  = var.idle_minutes
      mlflow_bucket = var.mlflow_bucket
      dvc_bucket    = var.dvc_bucket
      mlflow_port   = var.mlflow_port
      service_port  = var.service_port
      mlflow_role   = var.mlflow_role
    })
  })
}

data "aws_ssm_parameter" "ami" {
  count = var.ami_id == null ? 1 : 0
  name  = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

# Not each zone has each type: t3.large isn't in us-east-1e.
data "aws_ec2_instance_type_offerings" "this" {
  location_type = "availability-zone"

  filter {
    name   = "instance-type"
    values = [var.instance_type]
  }

  lifecycle {
    postcondition {
      condition     = length(setintersection(self.locations, keys(var.subnets))) > 0
      error_message = "The region ${var.region} has no ${var.instance_type}; set another instance_type or region."
    }
  }
}

resource "aws_instance" "this" {
  #checkov:skip=CKV_AWS_88:Its user reaches MLflow and the service at the public address, from a /32 alone.
  #checkov:skip=CKV_AWS_126:Detailed monitoring costs money, and nothing here reads it.
  ami                                  = var.ami_id == null ? data.aws_ssm_parameter.ami[0].insecure_value : var.ami_id
  instance_type                        = var.instance_type
  subnet_id                            = var.subnets[local.zone]
  vpc_security_group_ids               = [var.security_group_id]
  associate_public_ip_address          = true
  iam_instance_profile                 = var.instance_profile
  instance_initiated_shutdown_behavior = "terminate"
  ebs_optimized                        = true
  user_data                            = local.user_data
  tags                                 = local.tags

  # One hop: programs on the machine itself get the role's keys, containers in k3s don't.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted             = true
    volume_type           = "gp3"
    volume_size           = var.disk_gb
    delete_on_termination = true
    tags                  = local.tags
  }

  dynamic "instance_market_options" {
    for_each = var.spot ? [1] : []

    content {
      market_type = "spot"

      spot_options {
        spot_instance_type             = "one-time"
        instance_interruption_behavior = "terminate"
      }
    }
  }

  lifecycle {
    # A machine stays what it was launched as until it is gone. A repeated apply has another launch id, owner and
    # deadline, perhaps another type or a newer image; to change user data or type would stop and start the
    # machine, and a restarted machine has lost the timer that ends it.
    ignore_changes = all

    precondition {
      condition     = length(local.user_data) < 16384
      error_message = "The user data must be smaller than 16 KiB."
    }
  }
}
