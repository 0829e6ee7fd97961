"""Compiled kernels and nothing else: pure functions over flat arrays, with slow twins in the tests."""
