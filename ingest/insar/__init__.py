"""InSAR deliveries: profiles, reading by blocks, and the import. A delivery never becomes observation rows."""
