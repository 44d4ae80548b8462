"""The plugins that come with elspeth."""
