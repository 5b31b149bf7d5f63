"""From a Case to what the model sees, and the way back from the grid to patient space."""
