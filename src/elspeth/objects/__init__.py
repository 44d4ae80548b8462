"""Reads and writes objects in stores such as Amazon S3.

`address` parses addresses, without importing extras. `base` is the base class of all stores, and `stores` returns the
store of an address; the other modules are single stores. The library of a store is an extra, and is imported when an
object of that store is first used.
"""
