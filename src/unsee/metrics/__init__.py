"""Pure functions from outcomes to scores."""
