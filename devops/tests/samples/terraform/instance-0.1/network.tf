resource "aws_vpc" "this" {
  #checkov:skip=CKV2_AWS_11:Flow logs of a network that lives for hours cost more than they tell.
  #checkov:skip=CKV2_AWS_12:Nothing uses the default security group; it is gone with the network.
  cidr_block = "10.73.0.0/24"
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
}

# Not each zone has each type: t3.large isn't in us-east-1e, where AWS might put the subnet.
data "aws_ec2_instance_type_offerings" "this" {
  location_type = "availability-zone"

  filter {
    name   = "instance-type"
    values = [var.instance_type]
  }

  lifecycle {
    postcondition {
      condition     = length(self.locations) > 0
      error_message = "The region ${var.region} has no ${var.instance_type}; set another instance_type or region."
    }
  }
}

resource "aws_subnet" "public" {
  vpc_id            = aws_vpc.this.id
  cidr_block        = aws_vpc.this.cidr_block
  availability_zone = sort(data.aws_ec2_instance_type_offerings.this.locations)[0]

  lifecycle {
    # Another type in a repeated apply must not replace the subnet under a running machine.
    ignore_changes = [availability_zone]
  }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this.id
  }
}

resource "aws_route_table_association" "public" {
  subnet_id      = aws_subnet.public.id
  route_table_id = aws_route_table.public.id
}

resource "aws_security_group" "this" {
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
    # wms_ops opens the ports to one /32 at a time while this runs; a repeated apply must not close them.
    ignore_changes = [ingress]
  }
}
