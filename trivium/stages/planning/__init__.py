"""What a recipe takes before it starts: memory, time, cost, failures."""
