"""The prompts."""
