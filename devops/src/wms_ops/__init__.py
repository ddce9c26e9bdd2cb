"""The operations half: hooks, clouds, GitHub, deployment, cost."""
