"""One factory for networks, where their weights come from, and the bundle."""
