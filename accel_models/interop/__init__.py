"""Forms of other tools: Timeloop's input files, and records of what Timeloop counted."""
