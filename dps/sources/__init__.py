"""Where examples come from: a hub, a folder, the built-in generators."""
