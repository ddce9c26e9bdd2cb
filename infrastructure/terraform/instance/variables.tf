variable "region" {
  description = "AWS region, for example us-east-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region must look like us-east-1."
  }
}

variable "environment" {
  description = "Name of the environment: part of every name, and the tag wms:environment."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.environment))
    error_message = "The environment must be 1 to 20 lower-case letters, digits or hyphens, a letter first."
  }
}

variable "owner" {
  description = "Who started this launch, for example github-123456 or ana@laptop; the tag wms:owner."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.:/=+@-]{1,128}$", var.owner))
    error_message = "The owner must be 1 to 128 letters, digits or any of _ . : / = + - @."
  }
}

variable "launch_id" {
  description = "Identity of this launch, known before anything is created; the tag wms:launch."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{8}-[0-9]{6}-[a-z0-9]{6}$", var.launch_id))
    error_message = "The launch id must look like 20261125-153000-ab12cd."
  }
}

variable "deadline" {
  description = "When whoever finds it may delete this, RFC 3339 in UTC; the tag wms:deadline."
  type        = string

  validation {
    condition     = can(timeadd(var.deadline, "0s")) && can(regex("(\\+00:00|Z)$", var.deadline))
    error_message = "The deadline must be an RFC 3339 time in UTC, like 2026-11-25T18:00:00+00:00."
  }
}

variable "lifetime_minutes" {
  description = "Minutes after its boot at which the machine shuts itself down, and so is terminated."
  type        = number

  validation {
    condition     = var.lifetime_minutes >= 5 && var.lifetime_minutes <= 2880 && floor(var.lifetime_minutes) == var.lifetime_minutes
    error_message = "The lifetime must be 5 to 2880 whole minutes (two days)."
  }
}

variable "idle_minutes" {
  description = "Minutes without a request or a job after which the machine shuts itself down; 0 means never."
  type        = number
  default     = 0

  validation {
    condition     = var.idle_minutes >= 0 && var.idle_minutes <= 2880 && floor(var.idle_minutes) == var.idle_minutes
    error_message = "The idle time must be 0 (never) to 2880 whole minutes."
  }
}

variable "instance_type" {
  description = "EC2 instance type: x86_64, EBS-optimised, two virtual CPUs or more."
  type        = string
  default     = "t3.large"

  validation {
    condition     = can(regex("^(t3a?|[cmr][5-7](a|i|i-flex)?|g4dn|g5|g6)\\.(medium|large|[248]?xlarge)$", var.instance_type))
    error_message = "The instance type must be an x86_64 type from medium to 8xlarge of t3, t3a, c/m/r 5 to 7, g4dn, g5 or g6, like t3.large."
  }
}

variable "disk_gb" {
  description = "Size of the encrypted gp3 root disk in GiB."
  type        = number
  default     = 30

  validation {
    condition     = var.disk_gb >= 20 && var.disk_gb <= 500 && floor(var.disk_gb) == var.disk_gb
    error_message = "The disk must have 20 to 500 whole GiB."
  }
}

variable "spot" {
  description = "Whether to ask for a spot instance: cheaper, and AWS may end it at any time."
  type        = bool
  default     = false
}

variable "subnets" {
  description = "Subnet of each availability zone; the persistent root makes them."
  type        = map(string)

  validation {
    condition     = length(var.subnets) > 0 && alltrue([for id in values(var.subnets) : can(regex("^subnet-[0-9a-f]{8,17}$", id))])
    error_message = "The subnets must be ids by zone, like us-east-1a = subnet-0123456789abcdef0."
  }
}

variable "security_group_id" {
  description = "Security group of the instance; the persistent root makes it."
  type        = string

  validation {
    condition     = can(regex("^sg-[0-9a-f]{8,17}$", var.security_group_id))
    error_message = "The security group must look like sg-0123456789abcdef0."
  }
}

variable "mlflow_role" {
  description = "Name of MLflow's role, which the machine takes; null where the instance profile is not this project's."
  type        = string
  default     = null

  validation {
    condition     = var.mlflow_role == null || can(regex("^[A-Za-z0-9_+=,.@-]{1,64}$", var.mlflow_role))
    error_message = "MLflow's role must be a name, not an ARN."
  }
}

variable "instance_profile" {
  description = "Name of the instance profile: that of the persistent root, or LabInstanceProfile in AWS Academy."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_+=,.@-]{1,128}$", var.instance_profile))
    error_message = "The instance profile must be a name, not an ARN."
  }
}

variable "ami_id" {
  description = "Machine image with systemd and the AWS CLI; without it the newest Amazon Linux 2023 for x86_64."
  type        = string
  default     = null

  validation {
    condition     = var.ami_id == null || can(regex("^ami-[0-9a-f]{8,17}$", var.ami_id))
    error_message = "The image must look like ami-0123456789abcdef0."
  }
}

variable "bundle_bucket" {
  description = "Bucket that holds the code bundle."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bundle_bucket))
    error_message = "The bundle's bucket must be a bucket name: 3 to 63 lower-case letters, digits or hyphens."
  }
}

variable "bundle_key" {
  description = "Key of the code bundle, a .tar.gz below bundle/."
  type        = string

  validation {
    condition     = can(regex("^bundle/[A-Za-z0-9._-]+\\.tar\\.gz$", var.bundle_key))
    error_message = "The bundle's key must look like bundle/NAME.tar.gz."
  }
}

variable "bundle_sha256" {
  description = "SHA-256 of the code bundle in hexadecimal; the machine runs nothing else."
  type        = string

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.bundle_sha256))
    error_message = "The bundle's SHA-256 must be 64 lower-case hexadecimal digits."
  }
}

variable "dvc_bucket" {
  description = "Bucket of the data set."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.dvc_bucket))
    error_message = "The DVC bucket must be a bucket name: 3 to 63 lower-case letters, digits or hyphens."
  }
}

variable "mlflow_bucket" {
  description = "Bucket of MLflow's artifacts, backups, code bundles and jobs."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.mlflow_bucket))
    error_message = "The MLflow bucket must be a bucket name: 3 to 63 lower-case letters, digits or hyphens."
  }
}

variable "mlflow_port" {
  description = "TCP port of MLflow."
  type        = number
  default     = 5000

  validation {
    condition     = var.mlflow_port >= 1024 && var.mlflow_port <= 65535 && floor(var.mlflow_port) == var.mlflow_port
    error_message = "MLflow's port must be 1024 to 65535."
  }
}

variable "service_port" {
  description = "TCP port of the prediction service."
  type        = number
  default     = 8000

  validation {
    condition     = var.service_port >= 1024 && var.service_port <= 65535 && floor(var.service_port) == var.service_port && var.service_port != var.mlflow_port
    error_message = "The service's port must be 1024 to 65535, and another one than MLflow's."
  }
}
