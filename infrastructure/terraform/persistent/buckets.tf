# Without force_destroy S3 refuses to delete a bucket that holds anything, whoever asks: that guards the data.
# prevent_destroy would guard empty buckets, too, but can't be switched off by cleanup-aws.sh.
locals {
  buckets = {
    dvc = { name = var.dvc_bucket, expiring_days = {} }
    # The jobs' mailbox and the code bundles belong to one launch; artifacts and backups stay.
    mlflow = { name = var.mlflow_bucket, expiring_days = { "host/" = 7, "bundle/" = 30 } }
  }

  # A server on loopback speaks plain HTTP, and the provider waits a minute for each bucket's lifecycle rules.
  buckets_at_aws = var.s3_path_style ? {} : aws_s3_bucket.this
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_18:A log of each access needs a bucket of its own and tells a team of two nothing.
  #checkov:skip=CKV_AWS_144:A second region doubles the cost; versions guard against mistakes.
  #checkov:skip=CKV_AWS_145:A customer's KMS key costs by the month and by the request; S3's own keys encrypt.
  #checkov:skip=CKV2_AWS_62:Nothing listens to events of these buckets.
  for_each      = local.buckets
  bucket        = each.value.name
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = aws_s3_bucket.this
  bucket   = each.value.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = aws_s3_bucket.this
  bucket   = each.value.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each                = aws_s3_bucket.this
  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

data "aws_iam_policy_document" "guard" {
  for_each = local.buckets_at_aws

  statement {
    sid       = "RefusePlainHttp"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  # Photos and models outlive a machine that was taken over: no role of this environment may end old versions, whatever
  # its own policy says. By the name of the role, so that a role counts from its first moment.
  statement {
    sid       = "KeepVersions"
    effect    = "Deny"
    actions   = ["s3:DeleteObjectVersion", "s3:PutBucketVersioning"]
    resources = [each.value.arn, "${each.value.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:PrincipalArn"
      values   = ["arn:${local.partition}:iam::${local.account_id}:role/${local.role_prefix}-*"]
    }
  }
}

moved {
  from = aws_s3_bucket_policy.tls_only
  to   = aws_s3_bucket_policy.this
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.buckets_at_aws
  bucket   = each.value.id
  policy   = data.aws_iam_policy_document.guard[each.key].json

  # S3 refuses two changes of one bucket's access at the same time.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = local.buckets_at_aws
  bucket   = each.value.id

  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }

    expiration {
      expired_object_delete_marker = true
    }
  }

  dynamic "rule" {
    for_each = local.buckets[each.key].expiring_days

    content {
      id     = "expire-${trimsuffix(rule.key, "/")}"
      status = "Enabled"

      filter {
        prefix = rule.key
      }

      expiration {
        days = rule.value
      }
    }
  }

  # Old versions can expire only where there are versions.
  depends_on = [aws_s3_bucket_versioning.this]
}
