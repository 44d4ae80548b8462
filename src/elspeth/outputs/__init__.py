"""Outputs: which paths may be written, by whom, and how.

Everything that the product writes under a name that a user chose goes through here: exports, bags, proofs, keys, and
the files of sinks. `policy.problem_with` is the one place that decides whether a path may be written or replaced.
"""
