# The role of GitHub's workflows, which they assume by OIDC, without a key. Nothing of this file exists unless
# github_repository is set.
locals {
  github_url = "token.actions.githubusercontent.com"
  github     = var.github_repository == null ? toset([]) : toset(["this"])
  state_arn  = "arn:${local.partition}:s3:::wms-state-${local.account_id}-${var.region}"
}

# An account has one provider for each address, so a second environment is given the first one's.
resource "aws_iam_openid_connect_provider" "github" {
  for_each       = var.github_provider_arn == null ? local.github : toset([])
  url            = "https://${local.github_url}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "github_trust" {
  for_each = local.github

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [coalesce(var.github_provider_arn, try(aws_iam_openid_connect_provider.github["this"].arn, null))]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.github_url}:aud"
      values   = ["sts.amazonaws.com"]
    }

    # One environment of one repository, and no pattern: a job of another branch, a tag or a pull request has another
    # subject. That only main may deploy to the environment is a setting at GitHub.
    condition {
      test     = "StringEquals"
      variable = "${local.github_url}:sub"
      values   = ["repo:${var.github_repository}:environment:${var.github_environment}"]
    }
  }
}

resource "aws_iam_role" "github" {
  for_each             = local.github
  name                 = "${local.role_prefix}-github"
  description          = "What the workflows of ${var.github_repository} may do"
  assume_role_policy   = data.aws_iam_policy_document.github_trust[each.key].json
  max_session_duration = 21600 # the longest life of a job at GitHub; a login asks for one hour unless it trains
}

# To merge photos, to start, use and end this environment's instance, and to reap. It changes nothing that lasts: no
# bucket, network, role or policy, and it ends no old version of an object (buckets.tf denies that, too).
data "aws_iam_policy_document" "github" {
  #checkov:skip=CKV_AWS_111:The instance's launch is held by tags of the request, all else by names.
  #checkov:skip=CKV_AWS_356:What EC2 only describes, and the token of the registry, know no resource but all.
  for_each = local.github

  statement {
    sid       = "Look"
    actions   = ["ec2:Describe*", "ecr:GetAuthorizationToken", "iam:GetInstanceProfile", "sts:GetCallerIdentity"]
    resources = ["*"]
  }

  statement {
    sid       = "LaunchTagged"
    actions   = ["ec2:RunInstances"]
    resources = [for kind in ["instance", "volume", "network-interface"] : "arn:${local.partition}:ec2:${local.account_prefix}:${kind}/*"]

    condition {
      test     = "StringEqualsIfExists"
      variable = "aws:RequestTag/wms:environment"
      values   = [var.environment]
    }
  }

  # An instance without these tags would be seen by nobody: not by status, not by the reaper.
  statement {
    sid       = "NoInstanceWithoutTags"
    effect    = "Deny"
    actions   = ["ec2:RunInstances"]
    resources = ["arn:${local.partition}:ec2:${local.account_prefix}:instance/*"]

    condition {
      test     = "StringNotEquals"
      variable = "aws:RequestTag/wms:environment"
      values   = [var.environment]
    }
  }

  statement {
    sid       = "NoInstanceWithoutDeadline"
    effect    = "Deny"
    actions   = ["ec2:RunInstances"]
    resources = ["arn:${local.partition}:ec2:${local.account_prefix}:instance/*"]

    condition {
      test     = "Null"
      variable = "aws:RequestTag/wms:deadline"
      values   = ["true"]
    }
  }

  statement {
    sid     = "LaunchInto"
    actions = ["ec2:RunInstances"]
    resources = concat(
      ["arn:${local.partition}:ec2:${var.region}::image/*", aws_security_group.this.arn],
      [for subnet in aws_subnet.public : subnet.arn],
    )
  }

  statement {
    sid       = "TagAtTheLaunch"
    actions   = ["ec2:CreateTags"]
    resources = ["arn:${local.partition}:ec2:${local.account_prefix}:*/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["RunInstances"]
    }
  }

  statement {
    sid       = "LetIn"
    actions   = ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"]
    resources = [aws_security_group.this.arn]
  }

  # A launch and an end need single attributes, each with one value. With all attributes it could have the machine run
  # other user data, or keep it from its end. EC2 takes one attribute in a request.
  dynamic "statement" {
    for_each = { InstanceInitiatedShutdownBehavior = "terminate", DisableApiTermination = "false", DisableApiStop = "false" }

    content {
      sid       = "Set${statement.key}"
      actions   = ["ec2:ModifyInstanceAttribute"]
      resources = ["arn:${local.partition}:ec2:${local.account_prefix}:instance/*"]

      condition {
        test     = "StringEquals"
        variable = "aws:ResourceTag/wms:environment"
        values   = [var.environment]
      }

      condition {
        test     = "StringEqualsIgnoreCase"
        variable = "ec2:Attribute/${statement.key}"
        values   = [statement.value]
      }
    }
  }

  # Of any environment, since the reaper ends what is past its deadline in all of them.
  statement {
    sid = "End"
    actions = [
      "ec2:TerminateInstances",
      "ec2:DeleteVolume",
      "ec2:DeleteNetworkInterface",
      "ec2:ReleaseAddress",
    ]
    resources = ["arn:${local.partition}:ec2:${local.account_prefix}:*/*"]

    condition {
      test     = "Null"
      variable = "aws:ResourceTag/wms:environment"
      values   = ["false"]
    }
  }

  dynamic "statement" {
    for_each = aws_iam_role.host

    content {
      sid       = "HandOverTheMachinesRole"
      actions   = ["iam:PassRole"]
      resources = [statement.value.arn]

      condition {
        test     = "StringEquals"
        variable = "iam:PassedToService"
        values   = ["ec2.amazonaws.com"]
      }
    }
  }

  statement {
    sid       = "ListBuckets"
    actions   = ["s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketTagging", "s3:GetBucketLocation", "s3:GetBucketVersioning"]
    resources = [local.dvc_arn, local.mlflow_arn, local.state_arn]
  }

  statement {
    sid       = "Objects"
    actions   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${local.dvc_arn}/*", "${local.mlflow_arn}/*"]
  }

  statement {
    sid       = "ReadStates"
    actions   = ["s3:GetObject"]
    resources = ["${local.state_arn}/*"]
  }

  # Not the state of this root: who writes there has the next person's apply delete what it names.
  statement {
    sid     = "StatesOfLaunches"
    actions = ["s3:PutObject", "s3:DeleteObject"]
    resources = [
      "${local.state_arn}/instance/${var.environment}.*",
      "${local.state_arn}/lease/${var.environment}.json",
      "${local.state_arn}/runs/${var.environment}/*",
      "${local.state_arn}/sessions/*", # the reaper notes the ends of all
    ]
  }

  statement {
    sid       = "BreakStaleLocks"
    actions   = ["s3:DeleteObject"]
    resources = ["${local.state_arn}/*.tflock"]
  }

  statement {
    sid       = "Parameters"
    actions   = ["ssm:GetParameter", "ssm:PutParameter", "ssm:DeleteParameters", "ssm:AddTagsToResource"]
    resources = ["${local.parameter_arn}/*"]
  }

  statement {
    sid       = "NewestImageOfAmazonLinux"
    actions   = ["ssm:GetParameter"]
    resources = ["arn:${local.partition}:ssm:${var.region}::parameter/aws/service/ami-amazon-linux-latest/*"]
  }

  statement {
    sid       = "Registry"
    actions   = ["ecr:DescribeRepositories", "ecr:ListTagsForResource"]
    resources = [aws_ecr_repository.this.arn]
  }
}

resource "aws_iam_role_policy" "github" {
  for_each = local.github
  name     = "github"
  role     = aws_iam_role.github[each.key].id
  policy   = data.aws_iam_policy_document.github[each.key].json
}
