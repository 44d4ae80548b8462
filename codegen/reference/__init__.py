"""Generates the reference pages of settings and plugins.

Their source are the models that validate settings, through the JSON Schema that `elspeth settings schema` prints.
"""
