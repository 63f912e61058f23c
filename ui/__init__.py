"""The browser interface: Gradio blocks over the use cases of `app`, and the media that the browser plays."""
