"""The steps of fusing one group: its sources made ready, the run, and results that are pictures."""
