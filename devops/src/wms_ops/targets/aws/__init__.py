"""The cloud on AWS: one instance that always dies, and whatever belongs to it."""
