"""Starts the app on Hugging Face Spaces, which sets its address by environment variables."""

from explorer.shelf import DEFAULT_FOLDER
from explorer.ui import launch

if __name__ == "__main__":
    launch(DEFAULT_FOLDER, host=None, port=None, share=False)
