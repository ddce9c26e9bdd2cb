# What the instance root plans. Needs no account: the provider is a stand-in.
mock_provider "aws" {
  mock_data "aws_ssm_parameter" {
    defaults = { insecure_value = "ami-0123456789abcdef0" }
  }

  mock_data "aws_ec2_instance_type_offerings" {
    defaults = { locations = ["us-east-1b", "us-east-1a"] }
  }
}

variables {
  region           = "us-east-1"
  environment      = "main"
  owner            = "ana@laptop"
  launch_id        = "20261125-153000-ab12cd"
  deadline         = "2026-11-25T18:00:00+00:00"
  lifetime_minutes = 60
  bundle_bucket    = "wms-main-mlflow-123456789012-us-east-1"
  bundle_key       = "bundle/0123abcd.tar.gz"
  bundle_sha256    = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  dvc_bucket       = "wms-main-dvc-123456789012-us-east-1"
  instance_profile = "wms-main-us-east-1-instance"
  mlflow_role      = "wms-main-us-east-1-mlflow"
  mlflow_bucket    = "wms-main-mlflow-123456789012-us-east-1"

  security_group_id = "sg-0123456789abcdef0"

  subnets = {
    us-east-1a = "subnet-0123456789abcdefa"
    us-east-1b = "subnet-0123456789abcdefb"
    us-east-1e = "subnet-0123456789abcdefe"
  }
}

run "machine" {
  command = plan

  assert {
    condition     = aws_instance.this.instance_initiated_shutdown_behavior == "terminate"
    error_message = "A shutdown inside the machine must terminate it."
  }

  assert {
    condition     = aws_instance.this.metadata_options[0].http_tokens == "required" && aws_instance.this.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "Only IMDSv2, and only from the machine itself."
  }

  assert {
    condition     = aws_instance.this.root_block_device[0].encrypted && aws_instance.this.root_block_device[0].volume_type == "gp3" && aws_instance.this.root_block_device[0].volume_size == 30 && aws_instance.this.root_block_device[0].delete_on_termination
    error_message = "The disk must be an encrypted gp3 of 30 GiB that goes with the machine."
  }

  assert {
    condition     = aws_instance.this.instance_type == "t3.large" && aws_instance.this.ami == "ami-0123456789abcdef0" && aws_instance.this.associate_public_ip_address
    error_message = "By default a t3.large with Amazon's newest image and a public address."
  }

  assert {
    condition     = length(aws_instance.this.instance_market_options) == 0
    error_message = "On demand unless spot is asked for."
  }

  assert {
    condition     = aws_instance.this.subnet_id == "subnet-0123456789abcdefa"
    error_message = "The subnet must lie in a zone that has the type."
  }

  assert {
    condition     = aws_instance.this.vpc_security_group_ids == toset(["sg-0123456789abcdef0"]) && aws_instance.this.iam_instance_profile == "wms-main-us-east-1-instance"
    error_message = "The group and the profile must be the lasting ones."
  }
}

run "tags" {
  command = plan

  assert {
    condition = local.tags == tomap({
      "Name"            = "wms-main"
      "wms:environment" = "main"
      "wms:part"        = "instance"
      "wms:launch"      = "20261125-153000-ab12cd"
      "wms:deadline"    = "2026-11-25T18:00:00+00:00"
      "wms:owner"       = "ana@laptop"
    })
    error_message = "These six tags find everything that a launch made."
  }

  assert {
    condition     = aws_instance.this.tags == local.tags && aws_instance.this.root_block_device[0].tags == local.tags
    error_message = "The instance and its disk must carry the tags from their first moment."
  }
}

run "user_data" {
  command = plan

  assert {
    condition     = startswith(split("\n", local.user_data)[2], "shutdown -h +60")
    error_message = "The deadline must be the first command."
  }

  assert {
    condition     = length(local.user_data) < 4096
    error_message = "User data must stay short; EC2's limit is 16 KiB."
  }

  assert {
    condition = jsondecode(regex("<<'JSON'\n(.*)\nJSON", local.user_data)[0]) == {
      environment   = "main"
      region        = "us-east-1"
      launch_id     = "20261125-153000-ab12cd"
      deadline      = "2026-11-25T18:00:00+00:00"
      idle_minutes  = 0
      mlflow_bucket = "wms-main-mlflow-123456789012-us-east-1"
      dvc_bucket    = "wms-main-dvc-123456789012-us-east-1"
      mlflow_port   = 5000
      mlflow_role   = "wms-main-us-east-1-mlflow"
      service_port  = 8000
    }
    error_message = "host.json must hold what the host agent reads."
  }
}

run "spot" {
  command = plan

  variables {
    spot = true
  }

  assert {
    condition     = aws_instance.this.instance_market_options[0].market_type == "spot" && aws_instance.this.instance_market_options[0].spot_options[0].spot_instance_type == "one-time" && aws_instance.this.instance_market_options[0].spot_options[0].instance_interruption_behavior == "terminate"
    error_message = "A spot request must end with its machine."
  }
}

run "a_zone_without_the_type_is_left_out" {
  command = plan

  override_data {
    target = data.aws_ec2_instance_type_offerings.this
    values = { locations = ["us-east-1e", "us-east-1f"] }
  }

  assert {
    condition     = aws_instance.this.subnet_id == "subnet-0123456789abcdefe"
    error_message = "The subnet must be that of the first zone that has both the type and a subnet."
  }
}

run "the_users_choices" {
  command = plan

  variables {
    instance_profile = "LabInstanceProfile"
    ami_id           = "ami-00000000000000001"
    instance_type    = "m6i.xlarge"
    disk_gb          = 100
  }

  assert {
    condition     = aws_instance.this.iam_instance_profile == "LabInstanceProfile" && aws_instance.this.ami == "ami-00000000000000001" && length(data.aws_ssm_parameter.ami) == 0 && aws_instance.this.root_block_device[0].volume_size == 100 && aws_instance.this.instance_type == "m6i.xlarge"
    error_message = "Profile, image, disk and type must be the chosen ones."
  }
}

run "no_zone_has_the_type" {
  command = plan

  override_data {
    target = data.aws_ec2_instance_type_offerings.this
    values = { locations = [] }
  }

  expect_failures = [data.aws_ec2_instance_type_offerings.this]
}

# Each of these must be refused, none may hide behind another. service_port looks at mlflow_port, which must be
# right for that.
run "refuses_bad_values" {
  command = plan

  variables {
    region            = "virginia"
    environment       = "Main"
    owner             = "ana $(reboot)"
    launch_id         = "1"
    deadline          = "tomorrow"
    lifetime_minutes  = 4
    idle_minutes      = -1
    instance_type     = "t4g.large"
    disk_gb           = 5
    instance_profile  = "arn:aws:iam::123456789012:instance-profile/x"
    security_group_id = "default"
    subnets           = { us-east-1a = "10.73.0.0/27" }
    ami_id            = "amazon-linux"
    bundle_bucket     = "No_Bucket"
    bundle_key        = "bundle/a b.tar.gz"
    bundle_sha256     = "abc"
    dvc_bucket        = "s3://dvc"
    mlflow_bucket     = "m"
    mlflow_port       = 80
  }

  expect_failures = [
    var.region, var.environment, var.owner, var.launch_id, var.deadline, var.lifetime_minutes, var.idle_minutes,
    var.instance_type, var.disk_gb, var.instance_profile, var.security_group_id, var.subnets, var.ami_id, var.bundle_bucket, var.bundle_key,
    var.bundle_sha256, var.dvc_bucket, var.mlflow_bucket, var.mlflow_port,
  ]
}

run "refuses_what_is_just_outside" {
  command = plan

  variables {
    environment      = "main-environment-xxxx1" # 22 characters
    deadline         = "2026-11-25T18:00:00+01:00"
    lifetime_minutes = 2881
    idle_minutes     = 0.5
    instance_type    = "t3.micro"
    disk_gb          = 501
    bundle_sha256    = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"
    service_port     = 70000
  }

  expect_failures = [
    var.environment, var.deadline, var.lifetime_minutes, var.idle_minutes, var.instance_type, var.disk_gb,
    var.bundle_sha256, var.service_port,
  ]
}

run "refuses_one_port_for_both" {
  command = plan

  variables {
    service_port = 5000
  }

  expect_failures = [var.service_port]
}
