"""Predictions of tools/analysis_tools/predict_batch_size.py, read back and drawn."""
