"""Kernels in C++ for what Python and PyTorch leave on the table on a CPU: compiled once on the user's machine, for its processor.

Everything here has a PyTorch twin that is used where there is no compiler, and that the tests compare with.
"""
