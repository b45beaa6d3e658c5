"""A backup's folder: what marks it, how files come into it, and when it counts as whole."""
