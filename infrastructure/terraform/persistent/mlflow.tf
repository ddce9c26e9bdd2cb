# MLflow's own role: its files and nothing else. The instance takes it and hands the keys to MLflow's user. With an
# existing profile nothing of this file exists.
data "aws_iam_policy_document" "assume_mlflow" {
  count = local.make_role ? 1 : 0

  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = [aws_iam_role.host[0].arn]
    }
  }
}

data "aws_iam_policy_document" "mlflow" {
  statement {
    sid       = "Files"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${local.mlflow_arn}/mlflow/*"]
  }

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [local.mlflow_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["mlflow/*"]
    }
  }
}

resource "aws_iam_role" "mlflow" {
  count              = local.make_role ? 1 : 0
  name               = "${local.role_prefix}-mlflow"
  description        = "What MLflow of the environment ${var.environment} may do"
  assume_role_policy = data.aws_iam_policy_document.assume_mlflow[0].json
}

resource "aws_iam_role_policy" "mlflow" {
  count  = local.make_role ? 1 : 0
  name   = "mlflow"
  role   = aws_iam_role.mlflow[0].id
  policy = data.aws_iam_policy_document.mlflow.json
}

data "aws_iam_policy_document" "take_mlflow" {
  count = local.make_role ? 1 : 0

  statement {
    actions   = ["sts:AssumeRole"]
    resources = [aws_iam_role.mlflow[0].arn]
  }
}

resource "aws_iam_role_policy" "take_mlflow" {
  count  = local.make_role ? 1 : 0
  name   = "take-mlflow"
  role   = aws_iam_role.host[0].id
  policy = data.aws_iam_policy_document.take_mlflow[0].json
}
