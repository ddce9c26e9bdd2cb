terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # Bucket, key and region come from Python (-backend-config).
  backend "s3" {}
}

provider "aws" {
  region = var.region

  # The provider's 25 would let a command whose credentials have just expired try for more than four minutes: EC2 calls
  # that RequestExpired, which the SDK takes for a clock that is wrong and tries again.
  max_retries = 10

  default_tags {
    tags = local.tags
  }
}
