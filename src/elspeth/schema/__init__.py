"""What the generated schema is built on."""
