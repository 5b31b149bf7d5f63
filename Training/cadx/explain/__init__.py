"""What in the image a model attended to."""
