"""What stages compute with; it loads torch, and is imported only while one runs."""
