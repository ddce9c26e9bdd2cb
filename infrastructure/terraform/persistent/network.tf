# What costs nothing while idle lasts: a launch adds the instance with its disk, and rules for single addresses.
locals {
  name = "wms-${var.environment}"

  # A zone's number is that of its letter, so that a new zone moves no other zone's subnet. The network has room for 8.
  letters = split("", "abcdefgh")
  zones = {
    for zone in data.aws_availability_zones.this.names : zone => index(local.letters, substr(zone, -1, 1))
    if contains(local.letters, substr(zone, -1, 1))
  }
}

data "aws_availability_zones" "this" {
  #checkov:skip=CKV_AWS_394:A new zone gets a subnet of its own and changes no other; any type must find its zone.
  # Not the local zones, which an account may have switched on.
  filter {
    name   = "zone-type"
    values = ["availability-zone"]
  }
}

resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11:Flow logs cost more than the instance that is there for hours, and nobody reads them.
  #checkov:skip=CKV2_AWS_12:Nothing uses the default security group, and nothing in the network lives long.
  cidr_block = "10.73.0.0/24"
  tags       = { Name = local.name }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
}

# One in each zone: not each zone has each type. t3.large isn't in us-east-1e.
resource "aws_subnet" "public" {
  for_each          = local.zones
  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(aws_vpc.this.cidr_block, 3, each.value)
  tags              = { Name = "${local.name}-${each.key}" }
}

# The VPC's own table, which all its subnets use.
resource "aws_default_route_table" "public" {
  default_route_table_id = aws_vpc.this.default_route_table_id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this.id
  }
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:The instance that takes it is made by the other root, for each launch.
  name        = local.name
  description = "Out to HTTPS; in only from single addresses, which wms_ops adds and removes"
  vpc_id      = aws_vpc.this.id

  # S3, package registries and images are all HTTPS; DNS and time come from AWS inside the network.
  egress {
    description = "HTTPS to anywhere"
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }

  lifecycle {
    # wms_ops opens the ports to one /32 at a time while an instance runs; a repeated apply must not close them.
    ignore_changes = [ingress]
  }
}
