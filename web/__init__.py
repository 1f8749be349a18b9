"""What every request passes, from the server to the endpoint."""
