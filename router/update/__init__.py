"""What changes a fitted router without fitting it anew: newcomers, feedback, prompt lengths."""
