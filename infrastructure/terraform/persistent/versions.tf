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
  region            = var.region
  s3_use_path_style = var.s3_path_style

  default_tags {
    tags = {
      "wms:environment" = var.environment
      "wms:part"        = "store"
    }
  }
}
