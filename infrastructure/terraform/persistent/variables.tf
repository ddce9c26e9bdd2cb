variable "region" {
  description = "AWS region, for example us-east-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region must look like us-east-1."
  }
}

variable "environment" {
  description = "Name of the environment; the tag wms:environment."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,19}$", var.environment))
    error_message = "The environment must be 1 to 20 lower-case letters, digits or hyphens, a letter first."
  }
}

variable "dvc_bucket" {
  description = "Name of the bucket for the data set's versions."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.dvc_bucket))
    error_message = "The DVC bucket must be a bucket name: 3 to 63 lower-case letters, digits or hyphens."
  }
}

variable "mlflow_bucket" {
  description = "Name of the bucket for MLflow's artifacts and backups, code bundles and jobs."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.mlflow_bucket)) && var.mlflow_bucket != var.dvc_bucket
    error_message = "The MLflow bucket must be a bucket name of 3 to 63 lower-case letters, digits or hyphens, and another one than the DVC bucket."
  }
}

variable "ecr_repository" {
  description = "Name of the repository for the service's images."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]+([._/-][a-z0-9]+)*$", var.ecr_repository)) && length(var.ecr_repository) >= 2 && length(var.ecr_repository) <= 256
    error_message = "The repository must be 2 to 256 lower-case letters and digits with single . _ - or / between them."
  }
}

variable "force_destroy" {
  description = "Whether buckets and images may be destroyed with their content. It counts as of the apply before the destroy."
  type        = bool
  default     = false
}

variable "noncurrent_days" {
  description = "Days for which an overwritten or deleted object can be brought back."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1 && var.noncurrent_days <= 3650 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "Old versions must be kept for 1 to 3650 whole days."
  }
}

variable "s3_path_style" {
  description = "Whether S3 is a server on loopback: a bucket's name is part of the path, HTTP has no TLS, nothing expires."
  type        = bool
  default     = false
}

variable "existing_buckets" {
  description = "The buckets, of dvc and mlflow, that this account has already."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.existing_buckets, ["dvc", "mlflow"])) == 0
    error_message = "The existing buckets must be among dvc and mlflow."
  }
}

variable "repository_exists" {
  description = "Whether this environment has its image repository already."
  type        = bool
  default     = false
}

variable "existing_instance_profile" {
  description = "Instance profile to use instead of making a role, as AWS Academy needs (LabInstanceProfile)."
  type        = string
  default     = null

  validation {
    condition     = var.existing_instance_profile == null || can(regex("^[A-Za-z0-9_+=,.@-]{1,128}$", var.existing_instance_profile))
    error_message = "The instance profile must be a name like LabInstanceProfile, not an ARN."
  }
}
