"""Real Chromium, driven by scripts of this folder."""
