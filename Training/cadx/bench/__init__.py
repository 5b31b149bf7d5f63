"""Measurements: ratios against a baseline in the same run, and what they were measured on."""
