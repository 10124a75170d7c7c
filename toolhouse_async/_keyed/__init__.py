"""What a manager of keyed sessions is made of."""
