"""The engines of forgetting: by features, by answers, and what they are made of."""
