"""State and rules of the panels, without widgets."""
