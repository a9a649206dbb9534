"""What comes after training: talking, comparing, looking back at what a model was trained on, taking it elsewhere."""
