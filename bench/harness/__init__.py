"""What measurements share: processes, calls, clips, reports, pictures."""
