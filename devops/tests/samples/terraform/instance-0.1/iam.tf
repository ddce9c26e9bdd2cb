# The machine's rights. With an existing profile nothing of this file exists.
locals {
  make_role      = var.existing_instance_profile == null
  dvc_arn        = "arn:${data.aws_partition.current.partition}:s3:::${var.dvc_bucket}"
  mlflow_arn     = "arn:${data.aws_partition.current.partition}:s3:::${var.mlflow_bucket}"
  bundle_arn     = "arn:${data.aws_partition.current.partition}:s3:::${var.bundle_bucket}/${var.bundle_key}"
  account_prefix = "${var.region}:${data.aws_caller_identity.current.account_id}"
}

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

# No right to delete a version: whatever a broken machine overwrites or deletes can be brought back.
data "aws_iam_policy_document" "host" {
  #checkov:skip=CKV_AWS_111:What has no constraint opens channels of Session Manager, which know no resource but all.
  #checkov:skip=CKV_AWS_356:Session Manager's actions and the registry's token know no resource but all.
  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
    resources = [local.dvc_arn, local.mlflow_arn]
  }

  statement {
    sid       = "ReadBundle"
    actions   = ["s3:GetObject"]
    resources = [local.bundle_arn]
  }

  statement {
    sid       = "Data"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${local.dvc_arn}/*"]
  }

  statement {
    sid     = "ArtifactsBackupsJobs"
    actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = [
      "${local.mlflow_arn}/mlflow/*",
      "${local.mlflow_arn}/backup/*",
      "${local.mlflow_arn}/host/*",
    ]
  }

  statement {
    sid       = "Parameters"
    actions   = ["ssm:GetParameter", "ssm:PutParameter"]
    resources = ["arn:${data.aws_partition.current.partition}:ssm:${local.account_prefix}:parameter/wms/${var.environment}/*"]
  }

  statement {
    sid       = "PullImages"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["arn:${data.aws_partition.current.partition}:ecr:${local.account_prefix}:repository/${local.name}"]
  }

  # Session Manager instead of SSH. AWS's own AmazonSSMManagedInstanceCore would let the machine read each
  # parameter of the account, too.
  statement {
    sid = "SessionManager"
    actions = [
      "ssm:UpdateInstanceInformation",
      "ssmmessages:CreateControlChannel",
      "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel",
      "ssmmessages:OpenDataChannel",
    ]
    resources = ["*"]
  }

  statement {
    sid       = "LogInToRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
}

resource "aws_iam_role" "host" {
  count              = local.make_role ? 1 : 0
  name               = "${local.name}-${var.region}-host"
  description        = "What the instance of the environment ${var.environment} may do"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "host" {
  count  = local.make_role ? 1 : 0
  name   = "host"
  role   = aws_iam_role.host[0].id
  policy = data.aws_iam_policy_document.host.json
}

resource "aws_iam_instance_profile" "host" {
  count = local.make_role ? 1 : 0
  name  = aws_iam_role.host[0].name
  role  = aws_iam_role.host[0].name
}
