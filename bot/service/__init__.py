"""The service: Bifocal over HTTP."""
