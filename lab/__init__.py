"""The laboratory: what produces this project's own evidence, run from a checkout.

Every module beside this file is a command, such as ``python -m lab.benchmark``; the folders hold
what the commands share. No wheel holds the laboratory, and nothing in :mod:`agvm_mm` imports it.
"""
