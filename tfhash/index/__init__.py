"""Exact search of packed codes, without Keras and without TensorFlow."""
