"""One answer: its prompt within the token budget, the model's text and images, and the turn of them."""
