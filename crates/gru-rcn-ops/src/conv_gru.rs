//! The ConvGRU over a clip, forward and backward.
