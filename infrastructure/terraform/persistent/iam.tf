# The machine's rights. With an existing profile nothing of this file exists.
locals {
  make_role      = var.existing_instance_profile == null
  partition      = data.aws_partition.current.partition
  dvc_arn        = "arn:${local.partition}:s3:::${var.dvc_bucket}"
  mlflow_arn     = "arn:${local.partition}:s3:::${var.mlflow_bucket}"
  account_id     = data.aws_caller_identity.current.account_id
  account_prefix = "${var.region}:${local.account_id}"
  parameter_arn  = "arn:${local.partition}:ssm:${local.account_prefix}:parameter/wms/${var.environment}"

  # The beginning of the names of all roles that work for this environment.
  role_prefix = "${local.name}-${var.region}"
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

# The machine reads the data set and writes nothing there. No right to delete a version, which buckets.tf denies, too:
# whatever a broken machine overwrites or deletes can be brought back.
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
    resources = ["${local.mlflow_arn}/bundle/*"]
  }

  statement {
    sid       = "Data"
    actions   = ["s3:GetObject"]
    resources = ["${local.dvc_arn}/dvc/*"]
  }

  statement {
    sid     = "ArtifactsBackupsJobs"
    actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = [
      "${local.mlflow_arn}/mlflow/*",
      "${local.mlflow_arn}/backup/${var.environment}/*",
      "${local.mlflow_arn}/host/*",
    ]
  }

  statement {
    sid       = "Password"
    actions   = ["ssm:GetParameter"]
    resources = ["${local.parameter_arn}/mlflow-password"]
  }

  statement {
    sid       = "ReportOfTheStartAndCertificate"
    actions   = ["ssm:PutParameter"]
    resources = ["${local.parameter_arn}/boot", "${local.parameter_arn}/mlflow-certificate"]
  }

  statement {
    sid       = "PullImages"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["arn:${local.partition}:ecr:${local.account_prefix}:repository/${var.ecr_repository}"]
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
  name               = "${local.role_prefix}-instance" # the former version made one named -host for each launch
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
