"""The first start: find keys and local servers, test one, save the choice."""
