"""What ops may write: shapes, places, secrets. Meaning (schemes, event types, expressions) is the rooms' business."""
