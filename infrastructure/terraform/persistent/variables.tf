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

variable "github_repository" {
  description = "Repository at GitHub whose workflows get a role by OIDC; none without it. OWNER/REPOSITORY, or with numbers, OWNER@1/REPOSITORY@2, where it was made or renamed since 15 July 2026."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[A-Za-z0-9-]+(@[0-9]+/[A-Za-z0-9._-]+@[0-9]+|/[A-Za-z0-9._-]+)$", var.github_repository))
    error_message = "The repository must be OWNER/REPOSITORY or OWNER@ID/REPOSITORY@ID, without a pattern."
  }
}

variable "github_environment" {
  description = "Environment at GitHub, which only main may deploy to; the role trusts its jobs alone."
  type        = string
  default     = "wms"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.github_environment))
    error_message = "The environment at GitHub must be 1 to 64 letters, digits, _ or -."
  }
}

variable "github_provider_arn" {
  description = "OIDC provider of GitHub that the account has already; made if it is null."
  type        = string
  default     = null

  validation {
    condition     = var.github_provider_arn == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/token\\.actions\\.githubusercontent\\.com$", var.github_provider_arn))
    error_message = "The provider must be the ARN of an OIDC provider for token.actions.githubusercontent.com."
  }
}

variable "budget_email" {
  description = "Address that AWS writes to when the account's bill of a month nears budget_month_usd; no budget without it."
  type        = string
  default     = null

  validation {
    condition     = var.budget_email == null || can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.budget_email))
    error_message = "The address must be one e-mail address."
  }
}

variable "budget_month_usd" {
  description = "US dollars that the account may cost in a month before AWS writes."
  type        = number
  default     = 10

  validation {
    condition     = var.budget_month_usd > 0
    error_message = "The budget must be more than 0 US dollars."
  }
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
