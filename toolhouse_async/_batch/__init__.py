"""What a batch is made of: rows that are each asked once, whatever dies."""
