# AWS's own alarm about the bill of the whole account, which needs no program of this project.
resource "aws_budgets_budget" "month" {
  for_each     = var.budget_email == null ? toset([]) : toset([var.budget_email])
  name         = "wms-${var.environment}-${var.region}"
  budget_type  = "COST"
  limit_amount = tostring(var.budget_month_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  dynamic "notification" {
    for_each = [["ACTUAL", 50], ["ACTUAL", 100], ["FORECASTED", 100]]

    content {
      notification_type          = notification.value[0]
      threshold                  = notification.value[1]
      threshold_type             = "PERCENTAGE"
      comparison_operator        = "GREATER_THAN"
      subscriber_email_addresses = [each.key]
    }
  }
}
