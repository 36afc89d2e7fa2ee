"""Trainings side by side: score over time, updates to a target, averages carried over a stage."""
