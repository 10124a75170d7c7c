"""An endpoint that speaks OpenAI's Chat Completions and Responses, with workers as its models."""
