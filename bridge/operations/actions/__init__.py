"""What an operator does to the record, beside a running bridge or without one."""
