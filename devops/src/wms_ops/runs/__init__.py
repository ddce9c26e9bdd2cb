"""The record of a run, its plan and its storage."""
