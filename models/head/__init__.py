"""The head finder: where heads are in a whole camera frame, for the automatic framing."""
