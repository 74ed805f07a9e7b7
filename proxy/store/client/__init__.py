"""The Redis client: connections, pipelines, clusters and scripts."""
