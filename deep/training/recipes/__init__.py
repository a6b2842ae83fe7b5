"""What each task teaches its network: batches, loss, validation, export."""
