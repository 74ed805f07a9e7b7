"""witboost: reading its hook calls, calling it back, and our credentials there."""
