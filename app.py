"""What Hugging Face Spaces runs: the app on the shipped checkpoints, where the environment says."""

from explorer.shelf import DEFAULT_FOLDER
from explorer.ui import launch

if __name__ == "__main__":
    launch(DEFAULT_FOLDER, host=None, port=None, share=False)
