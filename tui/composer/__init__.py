"""What the person writes: prompt, completion, queue, the one-line reason for the model."""
