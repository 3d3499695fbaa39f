"""Azure OpenAI, and servers that speak its language: requests, streams, images, errors."""
