"""Pictures and sound as bytes, and access to sound devices."""
