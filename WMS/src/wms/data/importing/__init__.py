"""Imports what labelling tools export: photos and labels in, images/ and masks/ out. See docs/data-import.md."""
