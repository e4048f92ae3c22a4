"""Test material made in Python: a TFLite writer, calibrated random networks, strategies."""
