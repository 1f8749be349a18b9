"""Real browsers, driven by scripts of this folder."""
