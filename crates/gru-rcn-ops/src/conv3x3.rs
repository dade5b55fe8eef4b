//! 3×3 convolutions for training.
