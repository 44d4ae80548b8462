"""Read and write objects in stores such as Amazon S3.

`address` parses addresses, and imports only what is always installed. `base` is what all stores share; other modules
are single stores. `stores` returns the store of an address. The library of a store is an extra, and is imported when an
object of that store is first used.
"""
