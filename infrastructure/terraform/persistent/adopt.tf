# What AWS has of these although the state doesn't: an answer was lost, or a command was killed, between the making and
# the note of it. Without this each later apply would hear that it exists already. For what the state has, too, it does
# nothing.
import {
  for_each = var.existing_buckets
  to       = aws_s3_bucket.this[each.key]
  id       = local.buckets[each.key].name
}

import {
  for_each = var.repository_exists ? toset([var.ecr_repository]) : toset([])
  to       = aws_ecr_repository.this
  id       = each.key
}
