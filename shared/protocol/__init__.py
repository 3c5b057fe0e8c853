"""The call protocol without IO: messages, sessions, and what each side may ask of the other."""
