"""What a bundle knows of its own limits."""
