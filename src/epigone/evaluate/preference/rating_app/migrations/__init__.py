"""How the rating database came to its present form, a step a file; run whenever a campaign is opened."""
