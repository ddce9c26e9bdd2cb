"""The cloud on AWS: an instance that always ends, and the resources that belong to the instance."""
