"""Azure OpenAI and compatible servers: requests, streams, images, errors."""
