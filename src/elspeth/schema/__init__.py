"""What the generated schema stands on: how the tables of an epoch are described."""
