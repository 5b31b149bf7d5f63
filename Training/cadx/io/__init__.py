"""Files: reading and writing volumes and ROIs, whole or not at all."""
