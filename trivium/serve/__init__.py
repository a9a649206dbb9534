"""Models behind HTTP, in the shapes of OpenAI's interface, with a page to talk to them (docs/serving.md)."""
