"""Who runs the trainings of a run: one process, several, or several machines."""
