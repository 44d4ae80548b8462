"""Objects in stores such as Amazon S3, by their addresses.

`address` knows their texts, and imports nothing that is not always installed. `stores` reads and writes them through
fsspec. It imports the library of a store, which is an extra, when an object of that store is used.
"""
