"""The commands. Thin: they read arguments, call service and operations, and print."""
