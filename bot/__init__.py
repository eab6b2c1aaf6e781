"""Bifocal."""
