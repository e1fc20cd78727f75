"""What strangers may do before they are trusted: sizes, rates, addresses, and how many log lines they cause."""
