"""Proof, from a run folder alone, that a cross-validation did not leak; shares no code with what trains."""
