"""Objects in stores such as Amazon S3, by their addresses.

`address` knows their texts and imports nothing that is not always installed. `base` is what all stores have in common,
and the other modules are stores. `stores` returns that of an address; it imports the library of a store, which is an
extra, when an object of that store is used.
"""
