"""The network under a call: WebRTC data channels, how they are set up, and an in-memory stand-in."""
