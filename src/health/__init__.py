"""What `doctor.py` looks at, one small function a check."""
