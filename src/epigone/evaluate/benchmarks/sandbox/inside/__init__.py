"""Scripts that run inside the sandbox, on the standard library alone. Nothing here is imported outside."""
