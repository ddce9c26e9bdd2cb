"""The pre-push hook: checks every pushed ref, and publishes photos meant for main instead of pushing them."""
