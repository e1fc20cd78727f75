"""The command line. Thin: commands read arguments, call service and operations, and print.

Each imports what it runs inside its function: a short command does not wait for what the others need.
"""
