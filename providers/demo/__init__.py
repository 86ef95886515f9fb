"""The demo model behind `--demo`: a scripted server on a loopback connection."""
