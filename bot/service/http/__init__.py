"""What every request and response goes through: caps, bodies, problems, who asks."""
