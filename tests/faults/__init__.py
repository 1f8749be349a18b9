"""Real faults in real processes, under a running load: what is acknowledged stays, and what fails says so."""
