# What the persistent root plans. Needs no account: the provider is a stand-in.
mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }

  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1a", "us-east-1c", "us-east-1f", "us-east-1z"] }
  }

  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  region         = "us-east-1"
  environment    = "main"
  dvc_bucket     = "wms-main-dvc-123456789012-us-east-1"
  mlflow_bucket  = "wms-main-mlflow-123456789012-us-east-1"
  ecr_repository = "wms-main"
}

run "buckets" {
  command = plan

  assert {
    condition     = [for bucket in aws_s3_bucket.this : bucket.bucket] == [var.dvc_bucket, var.mlflow_bucket]
    error_message = "One bucket for DVC, one for MLflow."
  }

  assert {
    condition     = alltrue([for bucket in aws_s3_bucket.this : !bucket.force_destroy]) && !aws_ecr_repository.this.force_delete
    error_message = "Nothing with content may be destroyed unless told."
  }

  assert {
    condition     = alltrue([for each in aws_s3_bucket_versioning.this : each.versioning_configuration[0].status == "Enabled"]) && length(aws_s3_bucket_versioning.this) == 2
    error_message = "Both buckets must keep versions."
  }

  assert {
    condition     = alltrue([for each in aws_s3_bucket_server_side_encryption_configuration.this : one(one(each.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"]) && length(aws_s3_bucket_server_side_encryption_configuration.this) == 2
    error_message = "Both buckets must be encrypted."
  }

  assert {
    condition     = alltrue([for each in aws_s3_bucket_public_access_block.this : each.block_public_acls && each.block_public_policy && each.ignore_public_acls && each.restrict_public_buckets]) && length(aws_s3_bucket_public_access_block.this) == 2
    error_message = "Neither bucket may be public."
  }

  assert {
    condition     = length(aws_s3_bucket_policy.this) == 2
    error_message = "Both buckets must have the policy."
  }

  assert {
    condition     = [for document in data.aws_iam_policy_document.guard : one(document.statement[0].condition).variable] == ["aws:SecureTransport", "aws:SecureTransport"]
    error_message = "Both buckets must refuse plain HTTP."
  }
}

run "no_role_ends_a_version" {
  command = plan

  assert {
    condition     = alltrue([for document in data.aws_iam_policy_document.guard : document.statement[1].effect == "Deny" && document.statement[1].actions == toset(["s3:DeleteObjectVersion", "s3:PutBucketVersioning"]) && one(document.statement[1].principals).identifiers == toset(["*"])])
    error_message = "Old versions must be kept from every role of the environment."
  }

  assert {
    condition     = alltrue([for document in data.aws_iam_policy_document.guard : one(document.statement[1].condition) == { test = "ArnLike", variable = "aws:PrincipalArn", values = tolist(["arn:aws:iam::123456789012:role/wms-main-us-east-1-*"]) }])
    error_message = "The refusal must name the environment's roles."
  }

  assert {
    condition     = startswith(aws_iam_role.host[0].name, "${local.role_prefix}-")
    error_message = "The instance's role must be among those that the buckets guard against."
  }
}

run "network" {
  command = plan

  assert {
    condition     = { for zone, subnet in aws_subnet.public : zone => subnet.cidr_block } == { us-east-1a = "10.73.0.0/27", us-east-1c = "10.73.0.64/27", us-east-1f = "10.73.0.160/27" }
    error_message = "Each of eight zones has a subnet, whose place follows from the zone's letter."
  }

  assert {
    condition     = [for rule in aws_security_group.this.egress : rule.to_port] == [443]
    error_message = "Out to HTTPS alone."
  }

  assert {
    condition     = one(aws_default_route_table.public.route).cidr_block == "0.0.0.0/0"
    error_message = "The way to the internet is the network's own table, which all subnets use."
  }
}

run "own_role" {
  command = plan

  assert {
    condition     = output.instance_profile == "wms-main-us-east-1-instance" && output.mlflow_role == "wms-main-us-east-1-mlflow"
    error_message = "Without an existing profile a role of least rights is made."
  }

  assert {
    condition     = { for statement in data.aws_iam_policy_document.host.statement : statement.sid => statement.actions if contains(["Data", "Password", "ReportOfTheStartAndCertificate"], statement.sid) } == { Data = toset(["s3:GetObject"]), Password = toset(["ssm:GetParameter"]), ReportOfTheStartAndCertificate = toset(["ssm:PutParameter"]) }
    error_message = "The machine reads the data set and its password, and writes the report of its start and its certificate."
  }
}

run "existing_profile" {
  command = plan

  variables {
    existing_instance_profile = "LabInstanceProfile"
  }

  assert {
    condition     = output.instance_profile == "LabInstanceProfile" && output.mlflow_role == null && length(aws_iam_role.mlflow) + length(aws_iam_role.host) + length(aws_iam_role_policy.host) + length(aws_iam_instance_profile.host) == 0
    error_message = "With an existing profile nothing of IAM may be made."
  }
}

run "no_github_and_no_budget_unless_asked_for" {
  command = plan

  assert {
    condition     = length(aws_iam_role.github) + length(aws_iam_role_policy.github) + length(aws_iam_openid_connect_provider.github) + length(aws_budgets_budget.month) == 0
    error_message = "Without a repository and an address there is neither a role for GitHub nor a budget."
  }
}

run "github" {
  command = plan

  variables {
    github_repository = "ana@12/meters@34"
  }

  assert {
    condition     = aws_iam_role.github["this"].name == "wms-main-us-east-1-github" && startswith(aws_iam_role.github["this"].name, "${local.role_prefix}-")
    error_message = "GitHub's role must be among those that the buckets guard against."
  }

  assert {
    condition     = { for condition in one(data.aws_iam_policy_document.github_trust["this"].statement).condition : condition.variable => [condition.test, one(condition.values)] } == { "token.actions.githubusercontent.com:aud" = ["StringEquals", "sts.amazonaws.com"], "token.actions.githubusercontent.com:sub" = ["StringEquals", "repo:ana@12/meters@34:environment:wms"] }
    error_message = "The role trusts the jobs of one environment of one repository, by equality and not by a pattern."
  }

  assert {
    condition     = one(data.aws_iam_policy_document.github_trust["this"].statement).actions == toset(["sts:AssumeRoleWithWebIdentity"])
    error_message = "The role is assumed by a token of GitHub alone."
  }

  assert {
    condition     = alltrue([for statement in data.aws_iam_policy_document.github["this"].statement : statement.sid == "Look" || !contains(statement.resources, "*") if !contains(["LaunchInto", "LetIn", "HandOverTheMachinesRole", "Registry"], statement.sid)]) # those name what this root makes
    error_message = "All that changes something must name what it changes."
  }

  assert {
    condition     = length(setintersection(flatten([for statement in data.aws_iam_policy_document.github["this"].statement : statement.actions]), ["s3:DeleteObjectVersion", "s3:PutBucketVersioning", "s3:PutLifecycleConfiguration", "s3:PutBucketPolicy", "s3:DeleteBucket", "iam:PutRolePolicy", "iam:CreateRole"])) == 0
    error_message = "GitHub's role may change nothing that lasts."
  }

  assert {
    condition = { for statement in data.aws_iam_policy_document.github["this"].statement : statement.sid => { for condition in statement.condition : condition.variable => one(condition.values) } if contains(statement.actions, "ec2:ModifyInstanceAttribute") } == {
      SetDisableApiStop                    = { "aws:ResourceTag/wms:environment" = "main", "ec2:Attribute/DisableApiStop" = "false" }
      SetDisableApiTermination             = { "aws:ResourceTag/wms:environment" = "main", "ec2:Attribute/DisableApiTermination" = "false" }
      SetInstanceInitiatedShutdownBehavior = { "aws:ResourceTag/wms:environment" = "main", "ec2:Attribute/InstanceInitiatedShutdownBehavior" = "terminate" }
    }
    error_message = "Of an instance only what lets it end may be changed, and only of this environment's."
  }
}

run "a_provider_that_the_account_has" {
  command = plan

  variables {
    github_repository   = "ana/meters"
    github_provider_arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0 && length(aws_iam_role.github) == 1
    error_message = "An account has one provider for GitHub."
  }
}

run "no_pattern_as_a_repository" {
  command = plan

  variables {
    github_repository = "ana/*"
  }

  expect_failures = [var.github_repository]
}

run "budget" {
  command = plan

  variables {
    budget_email     = "ana@example.org"
    budget_month_usd = 12
  }

  assert {
    condition     = aws_budgets_budget.month["ana@example.org"].limit_amount == "12" && aws_budgets_budget.month["ana@example.org"].time_unit == "MONTHLY"
    error_message = "The budget is of a month."
  }

  assert {
    condition     = [for told in aws_budgets_budget.month["ana@example.org"].notification : one(told.subscriber_email_addresses)] == ["ana@example.org", "ana@example.org", "ana@example.org"]
    error_message = "Each alarm goes to the address."
  }
}

run "lifecycle" {
  command = plan

  variables {
    noncurrent_days = 12
  }

  assert {
    condition     = alltrue([for each in aws_s3_bucket_lifecycle_configuration.this : each.rule[0].noncurrent_version_expiration[0].noncurrent_days == 12 && each.rule[0].abort_incomplete_multipart_upload[0].days_after_initiation == 2])
    error_message = "Old versions must expire and unfinished uploads be dropped."
  }

  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.this["dvc"].rule) == 1
    error_message = "No current object of the data set may expire."
  }

  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.this["mlflow"].rule) == 3
    error_message = "In MLflow's bucket two prefixes expire."
  }

  assert {
    condition     = { for rule in slice(aws_s3_bucket_lifecycle_configuration.this["mlflow"].rule, 1, 3) : rule.filter[0].prefix => rule.expiration[0].days } == { "bundle/" = 30, "host/" = 7 }
    error_message = "In MLflow's bucket bundles and jobs expire, and nothing else."
  }
}

run "registry" {
  command = plan

  variables {
    force_destroy = true
  }

  assert {
    condition     = aws_ecr_repository.this.image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.this.image_scanning_configuration[0].scan_on_push
    error_message = "A tag names one image for ever, and each image is scanned."
  }

  assert {
    condition     = length(jsondecode(aws_ecr_lifecycle_policy.this.policy).rules) == 2
    error_message = "Old images must expire."
  }

  assert {
    condition     = alltrue([for bucket in aws_s3_bucket.this : bucket.force_destroy]) && aws_ecr_repository.this.force_delete
    error_message = "A cleanup must be able to destroy everything."
  }
}

run "refuses_bad_values" {
  command = plan

  variables {
    region          = "virginia"
    environment     = "1main"
    dvc_bucket      = "No_Bucket"
    ecr_repository  = "WMS"
    noncurrent_days = 0

    existing_instance_profile = "arn:aws:iam::123456789012:instance-profile/x"
  }

  expect_failures = [
    var.region, var.environment, var.dvc_bucket, var.ecr_repository, var.noncurrent_days, var.existing_instance_profile,
  ]
}

run "refuses_one_bucket_for_both" {
  command = plan

  variables {
    mlflow_bucket = "wms-main-dvc-123456789012-us-east-1"
  }

  expect_failures = [var.mlflow_bucket]
}

run "refuses_a_bad_name" {
  command = plan

  variables {
    mlflow_bucket = "ab"
  }

  expect_failures = [var.mlflow_bucket]
}
