"""What turns on one run share: their queue, the polls of its job, and the resume after it."""
