"""Getting a cluster, and getting onto one. Knows tune; nothing knows it."""
