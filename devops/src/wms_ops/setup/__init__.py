"""A team's own repository: its names, its bucket, and the data set and the model that it has already."""
