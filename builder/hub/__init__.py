"""Publishing to the Hugging Face Hub: whole at every moment, resumable, and verified by loading back."""
