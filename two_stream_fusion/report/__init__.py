"""Results and tables as one HTML page that needs no network."""
