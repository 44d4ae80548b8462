"""The plugins that call servers over HTTP."""
