"""The engine: what one step of a request may do, and the parts of the story."""
