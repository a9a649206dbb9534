"""What training takes before it starts: memory, time, communication, failures, cost; arithmetic only, without torch and without models."""
