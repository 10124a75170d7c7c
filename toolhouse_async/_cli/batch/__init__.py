"""``toolhouse-async batch``: a question for each row of a file, each asked once, whatever dies."""
