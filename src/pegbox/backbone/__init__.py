"""The frozen language model: the seam to it, the engine behind the seam, and where its weights come from."""
