"""City configuration."""
