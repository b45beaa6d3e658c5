"""One for each thing outside; none knows another. Only `wiring` knows them."""
