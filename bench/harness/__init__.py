"""Code shared by measurements: processes, calls, clips, reports, pictures."""
