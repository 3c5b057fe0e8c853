"""Runtime support for every command: console, event loop, files, figures about itself."""
