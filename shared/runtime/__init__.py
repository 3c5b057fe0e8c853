"""What every command needs around its work: console, event loop, files, figures about itself."""
