"""The pre-push hook: look at every pushed ref, take photos out of what would reach main, publish them instead."""
