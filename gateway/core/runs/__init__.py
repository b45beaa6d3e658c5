"""The life of a run: what can happen to it, what follows, and how it is told."""
