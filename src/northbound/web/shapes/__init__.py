"""What the API takes and gives: one struct for each request and answer, the source of its OpenAPI schemas."""
