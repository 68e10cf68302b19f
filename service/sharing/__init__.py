"""What leaves the house: disclosure of positions and heights, and the feed for partners."""
