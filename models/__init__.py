"""The networks: type 1 (Mask R-CNN), type 2 (Vision Transformer), classifiers, and their registry."""
