"""Pictures and sound as bytes, and the doors to sound devices."""
