"""Training: from a cohort to a bundle. Nothing that classifies imports this."""
