"""Settings: reads and validates the shape of the configuration. Its meaning is checked by the other rooms."""
