"""The processes of a service: started, watched over, replaced."""
