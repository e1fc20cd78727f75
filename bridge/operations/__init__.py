"""What an operator, or the calendar, does to the record."""
