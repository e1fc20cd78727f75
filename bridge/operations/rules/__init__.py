"""What people who write rules run: tests, tries, explanations, signed requests, the schema."""
