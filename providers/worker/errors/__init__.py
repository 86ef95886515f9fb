"""What a person is told of a request that failed."""
