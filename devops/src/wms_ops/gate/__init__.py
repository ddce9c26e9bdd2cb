"""The quality gate: fetch both models, score them now on the same test images, report, and keep the verdict."""
