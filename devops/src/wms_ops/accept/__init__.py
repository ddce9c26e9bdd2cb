"""The acceptance of a real account: one run of the whole path with drawn photos, each seam judged."""
