"""The receiver's HTTP: signaling, the viewer page, and who may connect."""
