"""One stain for all slides: what a slide's own stain is, and its tiles in that of a reference."""
